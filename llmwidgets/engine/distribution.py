"""Turns what the sampler went through into the record that a reader sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from llmwidgets.engine.sampling import Choice
from llmwidgets.engine.text import display_texts
from llmwidgets.records.distribution import Distribution

CANDIDATES = 40
LARGEST_VOCABULARY = 32_768  # up to here all raw logits are kept


def distribution(choice: Choice, tokenizer: Any) -> Distribution:
    """Return the most probable tokens of a step with their probability after each stage.

    Args:
        choice: what the sampler chose, with the logits after each stage.
        tokenizer: gives the candidates' display texts; None shows ids.
    """
    model = choice.stages[0].logits  # (V,), float64
    top = torch.topk(model, min(CANDIDATES, len(model))).indices
    if choice.token_id not in top:
        top[-1] = choice.token_id
    after = torch.stack([torch.softmax(stage.logits, dim=-1) for stage in choice.stages])  # (stages, V)
    last = after[-1]
    token_ids = top.numpy()
    return Distribution(
        stages=tuple(stage.name for stage in choice.stages),
        token_ids=token_ids,
        texts=display_texts(tokenizer, token_ids.tolist()),
        probabilities=after[:, top].float().numpy(),
        num_kept=tuple(int(torch.isfinite(stage.logits).sum()) for stage in choice.stages),
        entropy=abs(float(torch.special.entr(last).sum()) / float(np.log(2))),
        logits=model.float().numpy() if len(model) <= LARGEST_VOCABULARY else None,
    )
