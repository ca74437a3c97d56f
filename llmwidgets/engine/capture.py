"""`Capture`: queries of the layers and heads that a record asked for, kept while the model runs.

Keys are not kept: at the end they are still in the cache.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmwidgets.engine.kv_cache import KVCache, Slots


class Capture:
    """Collects queries over the forward passes of one sequence."""

    def __init__(self, layers: tuple[int, ...], heads: tuple[int, ...], last_only: bool) -> None:
        """Keep `heads` of `layers`; with `last_only`, of each pass only the query that led to a new token."""
        self.layers = layers
        self.heads = heads
        self.last_only = last_only
        self._queries: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    def keep(self, layer: int, query: Tensor) -> None:
        """Copy what is wanted of one pass's queries, shape (H, N, D)."""
        if layer in self._queries:
            rows = query[:, -1:] if self.last_only else query
            self._queries[layer].append(rows[list(self.heads)])  # indexing by a list copies

    def queries(self, layer: int) -> NDArray[np.float32]:
        """Return the kept queries of a layer, shape (len(heads), Q, D)."""
        return to_numpy(torch.cat(self._queries[layer], dim=1))

    def keys(self, layer: int, cache: KVCache, slots: Slots, kv_heads: list[int]) -> NDArray[np.float32]:
        """Return a layer's keys from the cache, shape (len(kv_heads), K, D)."""
        return to_numpy(cache.read(layer, slots).keys[:, kv_heads].transpose(0, 1))


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Return float32 numbers that share no memory with `tensor`."""
    array: NDArray[np.float32] = np.array(tensor.detach().float().cpu().numpy(), order="C")
    return array
