"""`Distribution`: what one new token was drawn from, and what each sampling stage left of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.record import Record


@dataclass(frozen=True, eq=False, repr=False)
class Distribution(Record):
    """The most probable tokens of one step, after each stage, in the order in which the stages ran."""

    stages: tuple[str, ...]
    """`"model"` for the model's own distribution, then each stage that was not neutral."""
    token_ids: NDArray[np.int64]
    """The candidates, by the model's probability, the new token always among them; shape (C,)."""
    texts: tuple[str, ...]
    """Display text of each candidate."""
    probabilities: NDArray[np.float32]
    """Of each candidate after each stage, shape (stages, C); 0 once a stage has taken it out."""
    num_kept: tuple[int, ...]
    """How many tokens of the whole vocabulary each stage left."""
    entropy: float
    """Of the distribution that was drawn from, in bits."""
    logits: NDArray[np.float32] | None
    """The model's raw logits, shape (V,); None for vocabularies above 32,768 entries."""
