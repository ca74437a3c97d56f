"""What the heatmap needs to know of attention weights, and the same from a caller's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weights = NDArray[np.float32]


class AttentionSource(Protocol):
    """Weights by layer and head; `llmwidgets.Attention` is one."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Text of each key position."""

    @property
    def query_positions(self) -> NDArray[np.int64]:
        """The position of each row's token among `tokens`, shape (Q,)."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose weights are there."""

    @property
    def heads(self) -> tuple[int, ...]:
        """The query heads whose weights are there."""

    def kv_head(self, head: int) -> int:
        """Return the key-value head that a query head reads."""

    def sliding_window(self, layer: int) -> int | None:
        """Return how many positions a query of this layer sees, itself included; None for all."""

    def weights(self, layer: int, head: int) -> Weights:
        """Return one head's weights, shape (Q, K)."""

    def weights_rows(self, layer: int, head: int, start: int, stop: int) -> Weights:
        """Return the rows `start` to `stop` of one head's weights, shape (stop - start, K)."""


@dataclass(frozen=True)
class GivenAttention:
    """Weights that the caller computed, shape (layers, heads, Q, K)."""

    array: Weights
    tokens: tuple[str, ...]
    query_positions: NDArray[np.int64]
    num_kv_heads: int
    edit: None = None

    @property
    def layers(self) -> tuple[int, ...]:
        """All layers of the array."""
        return tuple(range(self.array.shape[0]))

    @property
    def heads(self) -> tuple[int, ...]:
        """All heads of the array."""
        return tuple(range(self.array.shape[1]))

    def kv_head(self, head: int) -> int:
        """Return the key-value head that a query head reads."""
        return head * self.num_kv_heads // len(self.heads)

    def sliding_window(self, layer: int) -> int | None:
        """Return None: given weights say nothing of a window."""
        return None

    def weights(self, layer: int, head: int) -> Weights:
        """Return one head's weights, shape (Q, K)."""
        return np.asarray(self.array[layer, head])

    def weights_rows(self, layer: int, head: int, start: int, stop: int) -> Weights:
        """Return some rows of one head's weights."""
        return np.asarray(self.array[layer, head, start:stop])


def given_attention(
    weights: ArrayLike,
    tokens: Sequence[str],
    query_tokens: Sequence[int] | None = None,
    num_kv_heads: int | None = None,
) -> GivenAttention:
    """Check a caller's arrays.

    Args:
        weights: shares of attention from 0 to 1, shape (Q, K), (heads, Q, K) or (layers, heads, Q, K).
        tokens: the text of each of the K key positions.
        query_tokens: the position of each row's token among `tokens`; by default the last Q positions.
        num_kv_heads: number of key-value heads; by default as many as query heads.

    Raises:
        ValueError: for a wrong shape, a length that does not match, NaN, or weights outside 0 to 1.
    """
    array = _numbers(weights)
    while array.ndim < 4:
        array = array[None]
    _, heads, num_queries, num_keys = array.shape
    if len(tokens) != num_keys:
        raise ValueError(f"tokens has {len(tokens)} entries, but weights has {num_keys} key positions")
    if query_tokens is None:
        if num_queries > num_keys:
            raise ValueError(f"weights has {num_queries} rows for {num_keys} keys; say query_tokens")
        query_tokens = range(num_keys - num_queries, num_keys)
    if len(query_tokens) != num_queries:
        raise ValueError(f"query_tokens has {len(query_tokens)} entries, but weights has {num_queries} rows")
    positions = np.asarray(query_tokens, dtype=np.int64)
    if num_queries and not (positions.min() >= 0 and positions.max() < num_keys):
        raise ValueError(f"query_tokens must be positions from 0 to {num_keys - 1}")
    num_kv_heads = heads if num_kv_heads is None else num_kv_heads
    if num_kv_heads < 1 or heads % num_kv_heads:
        raise ValueError(f"num_kv_heads={num_kv_heads} does not divide the {heads} query heads")
    return GivenAttention(array, tuple(map(str, tokens)), positions, num_kv_heads)


def _numbers(weights: ArrayLike) -> Weights:
    array: NDArray[Any] = np.asarray(weights)
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise ValueError(
            f"weights has shape {array.shape}; allowed are (Q, K), (heads, Q, K) and (layers, heads, Q, K)"
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"weights holds {array.dtype}; allowed are real numbers from 0 to 1")
    array = array.astype(np.float32, copy=False)
    if np.isnan(array).any():
        raise ValueError("weights holds NaN; allowed are numbers from 0 to 1")
    if array.min() < 0 or array.max() > 1.001:  # 0.001: room for half precision
        raise ValueError(
            f"weights reach from {array.min():.4g} to {array.max():.4g}; allowed are shares from 0 to 1"
        )
    return array
