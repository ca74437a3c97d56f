"""`Distribution`: what one new token was drawn from, and what each sampling stage left of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.record import Record
from llmwidgets.records.sampling_stages import Floats, StageLogits, draw_starts, log_softmax, softmax

CANDIDATES = 40
LARGEST_VOCABULARY = 32_768  # up to here all raw logits are kept


@dataclass(frozen=True, eq=False, repr=False)
class Distribution(Record):
    """The most probable tokens of one step, after each stage, in the order in which the stages ran."""

    stages: tuple[str, ...]
    """`"model"` for the model's own distribution, then each stage that was not neutral."""
    token_ids: NDArray[np.int64]
    """The candidates, by the model's probability, the new token always among them; shape (C,)."""
    texts: tuple[str, ...]
    """Display text of each candidate."""
    logprobs: NDArray[np.float32]
    """Natural logarithm of the model's own probability of each candidate, shape (C,)."""
    probabilities: NDArray[np.float32]
    """Of each candidate after each stage, shape (stages, C); 0 once a stage has taken it out."""
    starts: NDArray[np.float32]
    """Where each candidate's part begins when the final probabilities of all tokens are laid end to end from
    0 to 1, the most probable first; the drawn number lies in the new token's part; shape (C,)."""
    num_kept: tuple[int, ...]
    """How many tokens of the whole vocabulary each stage left."""
    entropies: tuple[float, ...]
    """Entropy of the whole distribution after each stage, in bits."""
    logits: NDArray[np.float32] | None
    """The model's raw logits, shape (V,); None for vocabularies above 32,768 entries."""

    @property
    def entropy(self) -> float:
        """Of the distribution that was drawn from, in bits."""
        return self.entropies[-1]


def distribution_of(
    after: Sequence[StageLogits], token_id: int, texts: Callable[[list[int]], tuple[str, ...]]
) -> Distribution:
    """Return the most probable tokens of a step with their probability after each stage.

    Args:
        after: the model's logits, then what each stage left of them.
        token_id: the new token.
        texts: gives the display texts of token ids.
    """
    model = after[0].logits  # (V,), float64
    token_ids = np.argsort(-model, kind="stable")[:CANDIDATES]
    if token_id not in token_ids:
        token_ids[-1] = token_id
    laws = [softmax(stage.logits) for stage in after]
    return Distribution(
        stages=tuple(stage.name for stage in after),
        token_ids=token_ids,
        texts=texts(token_ids.tolist()),
        logprobs=log_softmax(model)[token_ids].astype(np.float32),
        probabilities=np.stack([law[token_ids] for law in laws]).astype(np.float32),
        starts=draw_starts(laws[-1])[token_ids].astype(np.float32),
        num_kept=tuple(int(np.isfinite(stage.logits).sum()) for stage in after),
        entropies=tuple(map(entropy, laws)),
        logits=model.astype(np.float32) if len(model) <= LARGEST_VOCABULARY else None,
    )


def entropy(probabilities: Floats) -> float:
    """Return the entropy of a distribution, shape (V,), in bits."""
    held = probabilities[probabilities > 0]
    return abs(float((held * np.log2(held)).sum()))
