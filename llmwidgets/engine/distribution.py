"""Turns what the sampler went through into the record that a reader sees."""

from __future__ import annotations

from functools import partial
from typing import Any

from llmwidgets.engine.sampling import Choice
from llmwidgets.engine.text import display_texts
from llmwidgets.records.distribution import Distribution, distribution_of


def distribution(choice: Choice, tokenizer: Any) -> Distribution:
    """Return the most probable tokens of a step with their probability after each stage.

    Args:
        choice: what the sampler chose, with the logits after each stage.
        tokenizer: gives the candidates' display texts; None shows ids.
    """
    return distribution_of(choice.stages, choice.token_id, partial(display_texts, tokenizer))
