"""Train the bundled models from raw text, or measure the shipped ones again.

    python tools/train_models.py --corpus classic-books-markdown --device cuda --minutes 9 6
    python tools/train_models.py --corpus classic-books-markdown --evaluate
    python tools/train_models.py --stages positions

Stages, each of which starts from what the one before left under --output:
text, tokenizer, target, plain (the target without the early-exit loss, for its figures), draft,
evaluate, ship, card, positions (past the trained length; needs only the shipped folders and their card).
"""

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: make `tools` importable
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.training import stages
from tools.training.errors import TrainingError
from tools.training.settings import DRAFT_SETTINGS, Budget, Settings, with_overrides

MODELS = Path(__file__).resolve().parents[1] / "llmwidgets" / "models"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--corpus", type=Path, default=Path("classic-books-markdown"), help="folder AUTHOR/TITLE.md"
    )
    p.add_argument("--output", type=Path, default=Path("runs/classics"), help="texts, checkpoints, figures")
    p.add_argument("--models", type=Path, default=MODELS, help="where the shipped folders go, or are")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    p.add_argument("--minutes", type=float, nargs=2, default=(9, 6), metavar=("TARGET", "DRAFT"))
    p.add_argument(
        "--steps", type=int, nargs=2, default=(0, 0), metavar=("TARGET", "DRAFT"), help="not minutes"
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--target-setting", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--draft-setting", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--toy", action="store_true", help="a tiny shape for both models, to try the script")
    p.add_argument("--no-compile", action="store_true", help="run without torch.compile")
    p.add_argument("--stages", nargs="+", choices=stages.NAMES, default=stages.NAMES, metavar="STAGE")
    p.add_argument(
        "--evaluate", action="store_true", help="measure the shipped folders and compare with the card"
    )
    p.add_argument(
        "--windows", type=int, default=128, help="held-out windows of each kind to measure; 0: all"
    )
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen stages; 2 and one line where the input cannot be used."""
    a = parser().parse_args(arguments)
    try:
        plan = stages.Plan(
            corpus=a.corpus,
            output=a.output,
            models=a.models,
            device=stages.find_device(a.device),
            target_settings=with_overrides(Settings(seed=a.seed), a.target_setting),
            draft_settings=with_overrides(DRAFT_SETTINGS, [f"seed={a.seed}", *a.draft_setting]),
            target_budget=Budget(a.minutes[0], a.steps[0]),
            draft_budget=Budget(a.minutes[1], a.steps[1]),
            toy=a.toy,
            compile_model=not a.no_compile,
            windows=a.windows,
        )
        if a.evaluate:
            stages.evaluate_shipped(plan)
        else:
            for name in a.stages:
                stages.run(name, plan)
    except TrainingError as error:
        print(f"train_models: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
