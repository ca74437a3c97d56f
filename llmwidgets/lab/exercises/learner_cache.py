"""Runs a model of Transformers with a KV cache that a learner wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class LearnerLayer(CacheLayerMixin):
    """One layer as Transformers' models see it, over a learner's `append` and `get`."""

    is_sliding = False

    def __init__(self, layer: int, cache: Any) -> None:
        super().__init__()
        self._layer, self._cache, self._num_tokens = layer, cache, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the learner's cache keeps the arrays."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the new tokens' keys (1, H_kv, N, D) and values; return those of all tokens."""
        self._num_tokens += key_states.shape[2]
        self._cache.append(self._layer, key_states[0].numpy(), value_states[0].numpy())
        keys, values = (np.ascontiguousarray(array) for array in self._cache.get(self._layer))
        return torch.from_numpy(keys)[None], torch.from_numpy(values)[None]

    def get_seq_length(self) -> int:
        """Return how many tokens are there."""
        return self._num_tokens

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys a mask covers, and the position of the first."""
        return self._num_tokens + query_length, 0

    def get_max_length(self) -> int:
        """Return -1, which is Transformers' word for no limit."""
        return -1


def generate(model: Any, cache: Any, prompt: Sequence[int], max_tokens: int) -> list[int]:
    """Return new tokens, each the one with the highest score; only new ones go through the model."""
    through = Cache(layers=[LearnerLayer(layer, cache) for layer in range(model.config.num_hidden_layers)])
    new, ids = list(prompt), []
    with torch.inference_mode():
        for _ in range(max_tokens):
            logits = model(input_ids=torch.tensor([new]), past_key_values=through).logits
            new = [int(logits[0, -1].argmax())]
            ids += new
    return ids
