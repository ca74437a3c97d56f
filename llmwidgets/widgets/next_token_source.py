"""The steps of a generation as `NextToken` draws them, from a record or from a caller's own logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmwidgets.records.generation import Generation

CANDIDATES = 40


@dataclass(frozen=True)
class DrawnSteps:
    """What was drawn from at each step; rows of candidates are sorted, the most probable first."""

    prompt: tuple[str, ...]
    stages: tuple[str, ...]
    """"model" first, then each sampling stage in its order."""
    texts: tuple[tuple[str, ...], ...]
    """Text of each candidate, (steps, candidates)."""
    token_ids: NDArray[np.int64]
    """(steps, candidates)."""
    probabilities: NDArray[np.float32]
    """After each stage, (steps, stages, candidates)."""
    kept: NDArray[np.int64]
    """How many tokens each stage left, (steps, stages)."""
    chosen: tuple[int, ...]
    """Index of the drawn token among the candidates."""
    uniforms: tuple[float | None, ...]
    entropies: tuple[float, ...]
    """Bits, of the distribution drawn from."""
    num_forced: int = 0
    greedy: bool = True

    @property
    def num_steps(self) -> int:
        """How many tokens were generated."""
        return len(self.texts)


def steps_of(record: Generation) -> DrawnSteps:
    """Return the steps of a record; raise `ValueError` if it was made without its distributions."""
    traces = [step.distribution for step in record.steps]
    kept = [trace for trace in traces if trace is not None]
    if not kept or len(kept) < len(traces):
        raise ValueError("this Generation holds no distributions; make it with engine.generate")
    return DrawnSteps(
        prompt=record.prompt_tokens[-80:],
        stages=kept[0].stages,
        texts=tuple(trace.texts for trace in kept),
        token_ids=np.stack([trace.token_ids for trace in kept]),
        probabilities=np.stack([trace.probabilities for trace in kept]),
        kept=np.stack([trace.num_kept for trace in kept]),
        chosen=tuple(
            int(np.flatnonzero(trace.token_ids == token)[0])
            for trace, token in zip(kept, record.token_ids, strict=True)
        ),
        uniforms=tuple(step.uniform for step in record.steps),
        entropies=tuple(trace.entropy for trace in kept),
        num_forced=record.num_forced,
        greedy=record.sampling_params.temperature == 0,
    )


def given_steps(
    logits: ArrayLike, tokens: Sequence[str], chosen: Sequence[int] | None, prompt: Sequence[str]
) -> DrawnSteps:
    """Check a caller's logits and return their steps, with no stage after the model's softmax."""
    rows = np.atleast_2d(np.asarray(logits, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != len(tokens):
        raise ValueError(f"logits has shape {rows.shape}, but tokens has {len(tokens)} entries")
    if np.isnan(rows).any() or not np.isfinite(rows).any(axis=1).all() or np.isposinf(rows).any():
        raise ValueError("logits must be numbers or -inf, with at least one number in each row")
    picks = rows.argmax(axis=1).tolist() if chosen is None else list(chosen)
    if len(picks) != len(rows) or not all(0 <= pick < len(tokens) for pick in picks):
        raise ValueError(f"chosen must be {len(rows)} token ids from 0 to {len(tokens) - 1}, not {picks}")
    probabilities = np.exp(rows - rows.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :CANDIDATES]
    for row, pick in enumerate(picks):
        if pick not in order[row]:
            order[row, -1] = pick
    shown = np.take_along_axis(probabilities, order, axis=1)
    surprise = np.where(probabilities > 0, -np.log2(np.maximum(probabilities, 1e-300)), 0)
    return DrawnSteps(
        prompt=tuple(map(str, prompt)),
        stages=("model",),
        texts=tuple(tuple(str(tokens[token]) for token in row) for row in order),
        token_ids=order.astype(np.int64),
        probabilities=shown[:, None].astype(np.float32),
        kept=(probabilities > 0).sum(axis=1)[:, None].astype(np.int64),
        chosen=tuple(int(np.flatnonzero(row == pick)[0]) for row, pick in zip(order, picks, strict=True)),
        uniforms=(None,) * len(rows),
        entropies=tuple(float(entropy) for entropy in (probabilities * surprise).sum(axis=1)),
    )
