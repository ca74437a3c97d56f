"""The model card and, beside it, the same figures for a program to read."""

import json
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy

from tools.training.corpus import BOOKS_SOURCE
from tools.training.errors import TrainingError
from tools.training.evaluate import Figures
from tools.training.loop import Training
from tools.training.positions import HEADING, Positions, section
from tools.training.samples import Sample

VERSIONS = f"Python {platform.python_version()}, numpy {numpy.__version__}"
TOLERANCE = 0.002  # what another processor's float32 may change


@dataclass(frozen=True)
class Recorded:
    """What was measured when the models were shipped."""

    versions: str  # of the Python source that was read
    hashes: dict[str, str]  # SHA-256 of the held-out text of each kind
    shipped: dict[str, Figures]  # a fixed sample of windows: what --evaluate measures
    everything: dict[str, Figures]  # all held-out windows
    plain: dict[str, Figures]  # all held-out windows, the target trained without the early-exit loss
    positions: Positions | None = None  # past the trained length; None until the stage `positions` has run


def close(a: Figures, b: Figures) -> bool:
    """Whether two measurements agree."""
    pairs = [(a.target, b.target), (a.draft, b.draft), (a.overlap, b.overlap)]
    pairs += [(a.exits[k], b.exits[k]) for k in a.exits.keys() & b.exits.keys()]
    return all(x == y or (x is not None and y is not None and abs(x - y) <= TOLERANCE) for x, y in pairs)


def read_figures(models: Path) -> Recorded:
    """The figures of a models folder."""
    path = models / "figures.json"
    if not path.exists():
        raise TrainingError(f"no figures.json in {models}: nothing to compare with")
    data = json.loads(path.read_text(encoding="utf-8"))
    for name in ("shipped", "everything", "plain"):
        data[name] = load_figures(data[name])
    if data.get("positions") is not None:
        data["positions"] = Positions(**data["positions"])
    return Recorded(**data)


def load_figures(data: dict[str, dict]) -> dict[str, Figures]:
    """Figures of each kind of text from what json gives."""
    return {kind: Figures(**figures) for kind, figures in data.items()}


def write_card(
    models: Path, recorded: Recorded, trainings: dict[str, Training], samples: list[Sample]
) -> None:
    """Write README.md and figures.json."""
    _write_figures(models, recorded)
    sections = [HEAD, _data(recorded), _training(trainings), _figures(recorded), _cost(recorded)]
    sections += [LIMITS] if recorded.positions is None else [section(recorded.positions), LIMITS]
    text = "\n\n".join([s.strip() for s in sections] + [_samples(samples)])
    (models / "README.md").write_text(text + "\n", encoding="utf-8", newline="\n")


def write_positions(models: Path, positions: Positions) -> None:
    """Put what was measured past the trained length into the card and figures.json; all else stays."""
    _write_figures(models, replace(read_figures(models), positions=positions))
    path = models / "README.md"
    parts = path.read_text(encoding="utf-8").split("\n## ")
    others = [part for part in parts if not part.startswith(HEADING)]
    limits = next(i for i, part in enumerate(others) if part.startswith(LIMITS_HEADING))
    others.insert(limits, section(positions).removeprefix("## ") + "\n")
    path.write_text("\n## ".join(others), encoding="utf-8", newline="\n")


def _write_figures(models: Path, recorded: Recorded) -> None:
    figures = json.dumps(asdict(recorded), indent=2) + "\n"
    (models / "figures.json").write_text(figures, encoding="utf-8", newline="\n")


HEAD = """
# The bundled models

Two small language models that this project trained itself, so that every lab shows real inference with
no download. They read English prose of the public domain and Python.

| folder | role | parameters | shape |
|---|---|---|---|
| `classics` | target | 21.0M | 8 layers, hidden 512, 8 heads, 4 KV heads, size 64, intermediate 1,024 |
| `classics-draft` | draft | 2.5M | 2 layers, hidden 256, 4 heads, 2 KV heads, size 64, intermediate 704 |

The draft is for speculative decoding. Both are `LlamaForCausalLM` with tied embeddings, RoPE theta 10,000 and
a context of 1,024, stored in bfloat16.
They share a byte-level BPE tokenizer of 4,096 entries with GPT-2's word boundaries. `<|endoftext|>` (id 0) is
begin, end and padding; `tokenizer.json` puts it before every text, and every training window began with it:
leave it out and the models get worse. `AutoModelForCausalLM.from_pretrained(folder)` and
`AutoTokenizer.from_pretrained(folder)` load them without this project.
"""

LIMITS_HEADING = "What they are not good for"
LIMITS = f"""
## {LIMITS_HEADING}

They know no facts: names, dates and places in their text are invented. They cannot hold a dialogue, follow an
instruction or answer a question. They know nothing modern and no language but English. They write code that
looks like Python and seldom works. Their prose carries the views of its time, some of them offensive now.
Nothing here is fit for any use but learning how inference works.
"""


def _data(recorded: Recorded) -> str:
    hashes = "\n".join(f"- {kind}: `{digest}`" for kind, digest in recorded.hashes.items())
    return f"""
## Data and licences

- Prose: 374 books of the public domain: `{BOOKS_SOURCE}`.
  All were written before 1924, and their authors died before 1956 but for Johnston McCulley (1958),
  of whom there is no excerpt here. Front matter, Markdown marks and footnotes are dropped, quotes and dashes
  straightened, paragraphs kept.
- Python: the source of the standard library (PSF License) and numpy (BSD 3-Clause), tests included:
  {recorded.versions}. Files that are tables rather than programs, or not UTF-8, are left out.

Every 40th book and every 40th source file in sorted order (the 1st, the 41st, ...) was held out and never
trained on. SHA-256 of the held-out text:

{hashes}

The excerpts in `text/`: `calibration.txt` from training books; `evaluation_books.txt` from held-out books;
`evaluation_python.txt` held-out files of the standard library, Copyright © 2001 Python Software Foundation;
All Rights Reserved, under the licence in `PYTHON-LICENSE.txt`."""


def _training(trainings: dict[str, Training]) -> str:
    rows = "\n".join(
        f"| {t.name} | {t.steps:,} | {t.tokens / 1e6:,.0f}M | {t.seconds / 60:.1f} "
        f"| {t.tokens_per_second / 1e6:.2f}M | {t.device} |"
        for t in trainings.values()
    )
    target, draft = trainings["target"], trainings["draft"]
    minutes = f"{target.seconds / 60:.1f} {draft.seconds / 60:.1f}"
    settings = ", ".join(f"{k} {v}" for k, v in target.settings.items())
    return f"""
## Training

    python tools/train_models.py --corpus classic-books-markdown --device cuda --minutes {minutes}

| model | steps | tokens | minutes | tokens/s | hardware (one) |
|---|---|---|---|---|---|
{rows}

`plain` is the target trained without the early-exit loss, for its figures alone. Minutes are of training;
compilation adds about half a minute a model. The target learns with Muon on the layers' matrices and AdamW on
the rest, in bfloat16 autocast, with dropout, with layer dropout that rises with depth, and with LayerSkip's
early-exit loss: a second cross-entropy through the shared norm and head at one of layers 1 to 7 in turn,
weighted by depth. The draft is distilled with the Kullback-Leibler divergence from the target's distribution,
on the training text. A budget in minutes ends at another step on another machine: the data
order and weights at the start are the seed's, the result is alike, not equal; `--steps` fixes the number of
steps.

The target's settings: {settings}."""


def _figures(recorded: Recorded) -> str:
    def pair(figures: dict[str, Figures], read: str, exit_layer: str = "") -> str:
        values = [getattr(figures[kind], read) for kind in ("books", "python")]
        if exit_layer:
            values = [value[exit_layer] for value in values]
        return " | ".join(f"{value:.4f}" for value in values)

    names = [("target, bits per byte", "target", ""), ("draft, bits per byte", "draft", "")]
    names += [("mean Σ min(p, q)", "overlap", ""), ("greedy agreement", "agreement", "")]
    names += [
        (f"target's exit after layer {k}, bits per byte", "exits", k) for k in recorded.shipped["books"].exits
    ]
    rows = "\n".join(
        f"| {name} | {pair(recorded.shipped, read, k)} | {pair(recorded.everything, read, k)} |"
        for name, read, k in names
    )
    sample, everything = recorded.shipped, recorded.everything
    library = everything["library"]
    return f"""
## Figures

On held-out text, with the shipped bfloat16 folders computed in float32. The first two columns are of a fixed
sample of windows evenly spaced over all ({sample["books"].windows} and {sample["python"].windows}), which
`python tools/train_models.py --corpus classic-books-markdown --evaluate` measures again; the others of all of
them ({everything["books"].windows} and {everything["python"].windows}), which took a GPU.

| figure | books | Python | books, all | Python, all |
|---|---|---|---|---|
{rows}

- Window: each document is cut into pieces of 1,023 tokens, each put after `<|endoftext|>`. (A document's last
  piece is shorter.)
- Bits per byte: the negative log-likelihood of the predicted tokens in bits, over their UTF-8 bytes.
- Σ min(p, q): at each position the overlap of the target's distribution p and the draft's q at temperature 1;
  its mean is the expected acceptance of a drafted token.
- Greedy agreement: the share of positions where both models have the same most likely token.
- Python: most of the held-out bytes are tests, which repeat themselves. On the files that are no tests
  ({library.bytes:,} bytes) the target reaches {library.target:.4f} bits per byte,
  after layer 6 {library.exits[list(library.exits)[-2]]:.4f}.
- Exit after layer n: the final norm and head applied to what layer n leaves."""


def _cost(recorded: Recorded) -> str:
    rows = []
    for layers in recorded.everything["books"].exits:
        cells = [
            f"{recorded.plain[kind].exits[layers]:.4f} | {recorded.everything[kind].exits[layers]:.4f}"
            for kind in recorded.plain
        ]
        rows.append(f"| {layers} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    last = list(recorded.everything["books"].exits)[-1]
    cost = {
        kind: 100 * (recorded.everything[kind].exits[last] / recorded.plain[kind].exits[last] - 1)
        for kind in recorded.plain
    }
    return f"""
## What the early-exit loss costs and gains

The same shape was trained for the same minutes on the same kind of machine without the loss (layer dropout
kept), for its figures only. Bits per byte over all held-out windows:

| layers | books, without | books, with | Python, without | Python, with |
|---|---|---|---|---|
{table}

The loss costs {cost["books"]:.1f}% at the last layer on books and {cost["python"]:.1f}% on Python
(part of it is speed: a step with two heads takes longer, so there were fewer); without it,
the exits are not usable."""


def _samples(samples: list[Sample]) -> str:
    blocks = [f"````text\n{s.prompt}⟶{s.text}\n````" for s in samples]
    head = (
        "## Ten samples, unedited\n\n"
        "Temperature 0.8, top-p 0.95, seeds 0 to 9, at most 60 tokens. The arrow ⟶ ends the prompt."
    )
    return "\n\n".join([head, *blocks])
