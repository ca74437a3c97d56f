"""The shipped target past its trained length: bits a byte by position, with each way of stretching RoPE."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from llmwidgets.engine import load
from llmwidgets.engine.position_loss import cut_windows
from tools.training.evaluate import byte_lengths

LENGTH = 4096
BUCKET = 512
WINDOWS = 6
HEADING = "Past the trained length"
NAMES = {
    "none": "as trained",
    "linear": "linear (position interpolation)",
    "dynamic": "dynamic NTK",
    "yarn": "YaRN",
}


@dataclass(frozen=True)
class Positions:
    """Bits a byte by position and scaling."""

    trained_length: int
    factor: float
    windows: int
    edges: list[int]  # bounds of the buckets of positions
    bytes: list[int]  # UTF-8 bytes of the predicted tokens, by bucket
    bits_per_byte: dict[str, list[float]]  # scaling -> one for each bucket
    perplexity: dict[str, list[float]]  # scaling -> one for each bucket, a token

    def mean(self, scaling: str, past: bool) -> float:
        """Bits a byte over all positions before the trained length, or past it."""
        inside = [(start >= self.trained_length) == past for start in self.edges[:-1]]
        values, weights = np.array(self.bits_per_byte[scaling])[inside], np.array(self.bytes)[inside]
        return float(np.average(values, weights=weights))


def measure_positions(models: Path, device: torch.device) -> Positions:
    """Run the shipped target over the shipped held-out prose, up to four times its trained length."""
    folder = models / "classics"
    engine = load(folder, device=device, dtype="float32", max_model_len=LENGTH)
    text = (models / "text" / "evaluation_books.txt").read_text(encoding="utf-8")
    record = engine.rotate("a", text=text, max_position=LENGTH, bucket_size=BUCKET, num_windows=WINDOWS)
    loss = record.loss
    assert loss is not None  # noqa: S101  # a text was given
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    predicted = np.array(cut_windows(ids, [0], LENGTH, WINDOWS))[:, 1:]
    lengths = np.array(byte_lengths(tokenizer))[predicted]
    edges = loss.edges.tolist()
    sizes = [int(lengths[:, start:stop].sum()) for start, stop in pairwise(edges)]
    bits = loss.loss * loss.num_tokens / np.log(2) / np.array(sizes)
    return Positions(
        trained_length=record.trained_length,
        factor=float(record.rope("linear").rope_parameters["factor"]),
        windows=loss.num_windows,
        edges=edges,
        bytes=sizes,
        bits_per_byte={
            name: [round(float(value), 4) for value in row]
            for name, row in zip(loss.scalings, bits, strict=True)
        },
        perplexity={
            name: [round(float(value), 1) for value in loss.perplexity(name)] for name in loss.scalings
        },
    )


def section(positions: Positions) -> str:
    """The card's section."""
    names, trained = list(positions.bits_per_byte), positions.trained_length
    head = " | ".join(NAMES[name] for name in names)
    rows = []
    for i, (start, stop) in enumerate(pairwise(positions.edges)):
        cells = [f"{positions.bits_per_byte[n][i]:.4f} ({positions.perplexity[n][i]:.1f})" for n in names]
        rows.append(f"| {start:,} to {stop - 1:,} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    past = sorted(names, key=lambda name: positions.mean(name, past=True))
    best = ", ".join(f"{NAMES[name]} {positions.mean(name, past=True):.4f}" for name in past)
    before = ", ".join(f"{NAMES[name]} {positions.mean(name, past=False):.4f}" for name in names)
    linear = positions.mean("linear", past=True)
    verdicts = [
        f"{NAMES[name]} is {'better' if positions.mean(name, past=True) < linear else 'worse'} than linear"
        for name in ("dynamic", "yarn")
    ]
    return f"""## {HEADING}

The target was trained on positions 0 to {trained - 1:,}. Bits per byte (in brackets: perplexity a token) by
the position that predicts, with Transformers' `rope_parameters` of factor {positions.factor:g} and no
training after it:

| positions | {head} |
|---|{"---|" * len(names)}
{table}

- Past {trained:,}, the best first: {best}.
- Before {trained:,}: {before}.
- So, without training, {" and ".join(verdicts)}.

`python tools/train_models.py --stages positions` measures this again, in float32, over {positions.windows}
windows of {positions.edges[-1]:,} positions spread over `text/evaluation_books.txt`. That text is excerpts of
several books one after the other, so nothing in it rewards a longer context. Dynamic NTK is run anew up to
the end of each row, since its frequencies depend on the length."""
