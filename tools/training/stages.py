"""The stages of one run, each from the files that the one before left."""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from tools.training import card, ship
from tools.training.corpus import Corpus, Document, read_books, read_documents, read_sources, write_documents
from tools.training.data import Batches, WindowSource, token_stream
from tools.training.draft import train_draft
from tools.training.errors import TrainingError
from tools.training.evaluate import Figures, evaluate, held_out_windows
from tools.training.loop import Training
from tools.training.positions import measure_positions
from tools.training.samples import draw_samples
from tools.training.settings import CONTEXT, Budget, Settings, draft_config, target_config, toy_config
from tools.training.target import train_target
from tools.training.tokenizer import save_tokenizer, tokenizer_texts, train_tokenizer

KINDS = ("books", "python")


@dataclass(frozen=True)
class Plan:
    """What one call of the script was asked for."""

    corpus: Path
    output: Path
    models: Path
    device: torch.device
    target_settings: Settings
    draft_settings: Settings
    target_budget: Budget
    draft_budget: Budget
    toy: bool = False
    compile_model: bool = True
    windows: int = 128

    @property
    def target_config(self) -> LlamaConfig:
        """The target's shape, or the toy's."""
        return toy_config() if self.toy else target_config()

    @property
    def draft_config(self) -> LlamaConfig:
        """The draft's shape, or the toy's."""
        return toy_config() if self.toy else draft_config()


def find_device(name: str) -> torch.device:
    """The device of that name, which must be there."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception:
        raise TrainingError(f"device {name!r} is not there") from None
    return device


def run(name: str, plan: Plan) -> None:
    """Run one stage."""
    print(f"== {name}", file=sys.stderr, flush=True)
    {
        "text": run_text,
        "tokenizer": run_tokenizer,
        "target": run_target,
        "plain": run_plain,
        "draft": run_draft,
        "evaluate": run_evaluate,
        "ship": run_ship,
        "card": run_card,
        "positions": run_positions,
    }[name](plan)


NAMES = ("text", "tokenizer", "target", "plain", "draft", "evaluate", "ship", "card", "positions")


def run_text(plan: Plan) -> None:
    """Clean the books and the Python source, and set the held-out ones apart."""
    corpora = {"books": read_books(plan.corpus), "python": read_sources()}
    folder = plan.output / "text"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, corpus in corpora.items():
        write_documents(folder / f"{kind}_train.jsonl", corpus.train)
        write_documents(folder / f"{kind}_held_out.jsonl", corpus.held_out)
        print(f"{kind}: {len(corpus.train)} to train on, {len(corpus.held_out)} held out", flush=True)


def run_tokenizer(plan: Plan) -> None:
    """Train the shared tokenizer."""
    tokenizer = train_tokenizer(tokenizer_texts(load_corpus(plan, "books"), load_corpus(plan, "python")))
    save_tokenizer(tokenizer, plan.output / "tokenizer", CONTEXT)


def run_target(plan: Plan) -> None:
    """Train the target with its early exits."""
    _train_target(plan, plan.target_settings, plan.output / "target")


def run_plain(plan: Plan) -> None:
    """Train the same shape without the early-exit loss, and measure it."""
    model = _train_target(plan, replace(plan.target_settings, exit_weight=0.0), plan.output / "plain")
    figures = {kind: _measure(plan, kind, model, None) for kind in KINDS}
    _write_figures(plan.output / "plain" / "figures.json", figures)


def run_draft(plan: Plan) -> None:
    """Distil the draft from the trained target."""
    target = load_model(plan.output / "target").to(plan.device)
    folder = plan.output / "draft"
    batches = load_batches(plan, plan.draft_settings)
    draft, _ = train_draft(
        plan.draft_config, target, batches, plan.draft_settings, plan.draft_budget, folder, plan.device,
        plan.compile_model,
    )  # fmt: skip
    save_model(draft, folder)


def run_evaluate(plan: Plan) -> None:
    """Measure the trained pair over all held-out windows."""
    target = load_model(plan.output / "target").to(plan.device)
    has_draft = (plan.output / "draft" / "model.safetensors").exists()
    draft = load_model(plan.output / "draft").to(plan.device) if has_draft else None
    figures = {kind: _measure(plan, kind, target, draft) for kind in (*KINDS, "library")}
    _write_figures(plan.output / "figures.json", figures)


def run_ship(plan: Plan) -> None:
    """Write the shipped folders and the labs' excerpts."""
    tokenizer = load_tokenizer(plan.output / "tokenizer")
    for name, folder in (("target", "classics"), ("draft", "classics-draft")):
        ship.write_model(load_model(plan.output / name), tokenizer, plan.models / folder)
    ship.write_excerpts(load_corpus(plan, "books"), load_corpus(plan, "python"), plan.models / "text")


def run_card(plan: Plan) -> None:
    """Measure the shipped folders as --evaluate does, draw the samples, and write the model card."""
    corpora = {kind: load_corpus(plan, kind) for kind in KINDS}
    recorded = card.Recorded(
        versions=card.VERSIONS,
        hashes={kind: corpora[kind].held_out_sha256 for kind in KINDS},
        shipped=_measure_shipped(plan, corpora),
        everything=card.load_figures(_read_figures(plan.output / "figures.json")),
        plain=card.load_figures(_read_figures(plan.output / "plain" / "figures.json")),
    )
    trainings = {name: Training.load(plan.output / name) for name in ("target", "plain", "draft")}
    samples = draw_samples(load_model(plan.models / "classics"), load_tokenizer(plan.models / "classics"))
    card.write_card(plan.models, recorded, trainings, samples)


def run_positions(plan: Plan) -> None:
    """Measure the shipped target past its trained length, and put the table into the card."""
    card.write_positions(plan.models, measure_positions(plan.models, plan.device))


def evaluate_shipped(plan: Plan) -> None:
    """Measure the shipped folders over the corpus at hand, and say where that differs from the card."""
    corpora = {"books": read_books(plan.corpus), "python": read_sources()}
    recorded = card.read_figures(plan.models)
    measured = _measure_shipped(plan, corpora)
    for kind in KINDS:
        print(f"{kind}: {json.dumps(asdict(measured[kind]))}")
        if corpora[kind].held_out_sha256 != recorded.hashes[kind]:
            print(f"{kind}: the held-out text is not the card's ({recorded.versions}; here {card.VERSIONS})")
        elif measured[kind].windows == recorded.shipped[kind].windows:
            same = card.close(measured[kind], recorded.shipped[kind])
            print(f"{kind}: {'as in the card' if same else 'NOT as in the card'}")


def _measure_shipped(plan: Plan, corpora: dict[str, Corpus]) -> dict[str, Figures]:
    target = load_model(plan.models / "classics").to(plan.device)
    draft = load_model(plan.models / "classics-draft").to(plan.device)
    tokenizer = load_tokenizer(plan.models / "classics")
    figures = {}
    for kind in KINDS:
        windows = held_out_windows(tokenizer, list(corpora[kind].held_out)).sample(plan.windows)
        figures[kind] = evaluate(target, windows, draft, exits=_exits(target))
    return figures


def _measure(plan: Plan, kind: str, target: LlamaForCausalLM, draft: LlamaForCausalLM | None) -> Figures:
    # "library" is the held-out Python that is no test: tests repeat themselves and are easier to predict.
    stored = "python" if kind == "library" else kind
    documents = list(read_documents(plan.output / "text" / f"{stored}_held_out.jsonl"))
    if kind == "library":
        documents = [d for d in documents if "test" not in d.name] or documents
    windows = held_out_windows(load_tokenizer(plan.output / "tokenizer"), documents)
    batch_size = 4 if plan.device.type == "cpu" else 32
    return evaluate(target, windows, draft, exits=_exits(target), batch_size=batch_size)


def _exits(target: LlamaForCausalLM) -> tuple[int, ...]:
    return tuple(range(2, target.config.num_hidden_layers + 1, 2))


def _train_target(plan: Plan, settings: Settings, folder: Path) -> LlamaForCausalLM:
    batches = load_batches(plan, settings)
    model, _ = train_target(
        plan.target_config, batches, settings, plan.target_budget, folder, plan.device, plan.compile_model
    )
    save_model(model, folder)
    return load_model(folder).to(plan.device)  # measured as it is stored


def load_corpus(plan: Plan, kind: str) -> Corpus:
    """One kind of text as the text stage left it."""
    folder = plan.output / "text"
    if not (folder / f"{kind}_train.jsonl").exists():
        raise TrainingError(f"no text in {folder}: run the stage `text` first")
    parts = {part: tuple(read_documents(folder / f"{kind}_{part}.jsonl")) for part in ("train", "held_out")}
    return Corpus(**parts)


def load_tokenizer(folder: Path) -> Tokenizer:
    """A folder's tokenizer."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise TrainingError(f"no tokenizer.json in {folder}: run the stage `tokenizer` first")
    return Tokenizer.from_file(str(path))


def load_batches(plan: Plan, settings: Settings) -> Batches:
    """The run's batches, tokenizing what is not yet tokenized."""
    tokenizer = load_tokenizer(plan.output / "tokenizer")
    sources = []
    for i, kind in enumerate(KINDS):
        cache = plan.output / "text" / f"{kind}_train.npy"
        documents: list[Document] = [] if cache.exists() else list(load_corpus(plan, kind).train)
        stream = token_stream(tokenizer, documents, cache)
        sources.append(WindowSource(stream, settings.context, 2 * settings.seed + i, plan.device))
    return Batches(*sources, batch_size=settings.batch_size, python_share=settings.python_share)


def load_model(folder: Path) -> LlamaForCausalLM:
    """A folder's model in float32."""
    if not (folder / "model.safetensors").exists():
        raise TrainingError(f"no model.safetensors in {folder}")
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def save_model(model: LlamaForCausalLM, folder: Path) -> None:
    """Store a model in bfloat16, as it will be shipped; the model itself is converted too."""
    model.to(torch.bfloat16).save_pretrained(folder)


def _write_figures(path: Path, figures: dict[str, Figures]) -> None:
    text = json.dumps({kind: asdict(f) for kind, f in figures.items()}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def _read_figures(path: Path) -> dict[str, dict]:
    if not path.exists():
        raise TrainingError(f"no {path}: run the stages `evaluate` and `plain` first")
    return json.loads(path.read_text(encoding="utf-8"))
