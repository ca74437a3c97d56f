"""`Attention`: queries and keys of one run; a head's weights are computed when they are asked for.

Weights of all heads would be layers × heads × T² numbers; queries and keys are layers × heads × T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.record import Record

Floats = NDArray[np.float32]
_CHUNK = 2**21  # entries of a block of rows that are worked on at once: 8 MB


@dataclass(frozen=True, eq=False, repr=False)
class AttentionEdit(Record):
    """How far the outputs moved when one token of the prompt was replaced."""

    position: int
    """Which token of the prompt was replaced."""
    token_id: int
    """What it was replaced by."""
    token: str
    """Display text of `token_id`."""
    output_change: Floats
    """The largest absolute change among each query position's logits, shape (Q,)."""


@dataclass(frozen=True, eq=False, repr=False)
class Attention(Record):
    """Who looked at whom: queries and keys of the captured layers and heads, as the model computed them."""

    default_view: ClassVar[str | None] = "llmwidgets.widgets.attention_heatmap:AttentionHeatmap"

    tokens: tuple[str, ...]
    """Display text of each key position, length K."""
    token_ids: NDArray[np.int64]
    """The token of each key position, shape (K,)."""
    query_positions: NDArray[np.int64]
    """The position of each query, ascending, shape (Q,); all K of them unless tokens were generated."""
    num_layers: int
    """Layers of the model."""
    num_heads: int
    """Query heads of a layer."""
    num_kv_heads: int
    """Key-value heads of a layer; each is read by num_heads / num_kv_heads query heads."""
    layers: tuple[int, ...]
    """The captured layers, ascending."""
    heads: tuple[int, ...]
    """The captured query heads, ascending, the same in each captured layer."""
    queries: tuple[Floats, ...]
    """For each captured layer, shape (len(heads), Q, head_size), after rotary embedding."""
    keys: tuple[Floats, ...]
    """For each captured layer, shape (key-value heads read by `heads`, K, head_size)."""
    scalings: tuple[float, ...]
    """What each captured layer multiplies query · key with."""
    sliding_windows: tuple[int | None, ...]
    """For each layer of the model, how many positions a query sees, itself included; None for all."""
    softcaps: tuple[float | None, ...]
    """For each captured layer, c of c · tanh(score / c) (Gemma 2, section 2), or None."""
    sinks: tuple[Floats | None, ...]
    """For each captured layer, the sink logits of `heads`, shape (len(heads),), or None."""
    edit: AttentionEdit | None = None
    """How far the outputs moved, if an edit was asked for."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not agree, and make the arrays read-only."""
        self._check()
        for field in fields(self):  # frozen all the way down
            for value in _arrays(getattr(self, field.name)):
                value.flags.writeable = False

    def kv_head(self, head: int) -> int:
        """Return the key-value head that the query head `head` reads."""
        if not 0 <= head < self.num_heads:
            raise ValueError(f"head={head} is not allowed; the model has heads 0 to {self.num_heads - 1}")
        return head * self.num_kv_heads // self.num_heads

    def sliding_window(self, layer: int) -> int | None:
        """Return how many positions a query of `layer` sees, itself included; None for all before it."""
        if not 0 <= layer < self.num_layers:
            raise ValueError(f"layer={layer} is not allowed; the model has layers 0 to {self.num_layers - 1}")
        return self.sliding_windows[layer]

    def weights(self, layer: int, head: int) -> Floats:
        """Return one head's weights; each row sums to 1, less what an attention sink took.

        Args:
            layer: one of `layers`.
            head: one of `heads`.

        Returns:
            Shares from 0 to 1, shape (Q, K), row i for the query at `query_positions[i]`.

        Raises:
            ValueError: if the layer or head was not captured.
        """
        return self.weights_rows(layer, head, 0, len(self.query_positions))

    def weights_rows(self, layer: int, head: int, start: int, stop: int) -> Floats:
        """Return the rows `start` to `stop` of `weights(layer, head)`, computing no others.

        Raises:
            ValueError: if the layer or head was not captured, or the rows are not there.
        """
        num_queries = len(self.query_positions)
        if not 0 <= start <= stop <= num_queries:
            raise ValueError(f"rows {start} to {stop} are not allowed; there are rows 0 to {num_queries}")
        weights = np.zeros((stop - start, len(self.token_ids)), np.float32)
        step = max(1, _CHUNK // len(self.token_ids))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            scores = self._scores(layer, head, first, last)
            self._softmax(scores, layer, head)
            weights[first - start : last - start, : scores.shape[1]] = scores
        self._index(layer, head)  # no rows asked for: a wrong layer is still an error
        return weights

    def sink_mass(self, layer: int, head: int) -> Floats | None:
        """Return the share that each query gave to the layer's attention sink, shape (Q,), or None."""
        index, _ = self._index(layer, head)
        if self.sinks[index] is None:
            return None
        masses = []
        step = max(1, _CHUNK // len(self.token_ids))
        for first in range(0, len(self.query_positions), step):
            scores = self._scores(layer, head, first, min(first + step, len(self.query_positions)))
            masses.append(self._softmax(scores, layer, head))
        return np.concatenate(masses) if masses else np.zeros(0, np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are held."""
        return sum(array.nbytes for field in fields(self) for array in _arrays(getattr(self, field.name)))

    def __repr__(self) -> str:
        """Return one line with the shape of what was captured."""
        edit = f", edit at {self.edit.position}" if self.edit else ""
        return (
            f"Attention({len(self.query_positions)} queries × {len(self.token_ids)} keys, "
            f"{len(self.layers)} of {self.num_layers} layers, "
            f"{len(self.heads)} of {self.num_heads} heads{edit})"
        )

    def _scores(self, layer: int, head: int, start: int, stop: int) -> Floats:
        """Return masked scores of some rows against all keys that the last of them sees."""
        index, row = self._index(layer, head)
        positions = self.query_positions[start:stop]
        seen = int(positions[-1]) + 1  # queries ascend, so no row sees further
        queries = self.queries[index][row, start:stop].astype(np.float32, copy=False)
        keys = self.keys[index][self._kv_row(head), :seen].astype(np.float32, copy=False)
        scores: Floats = np.matmul(queries * np.float32(self.scalings[index]), keys.T)
        softcap = self.softcaps[index]
        if softcap is not None:
            scores /= np.float32(softcap)
            np.tanh(scores, out=scores)
            scores *= np.float32(softcap)
        key_positions = np.arange(seen)
        scores[key_positions > positions[:, None]] = -np.inf
        window = self.sliding_windows[layer]
        if window is not None:
            scores[key_positions <= positions[:, None] - window] = -np.inf
        return scores

    def _softmax(self, scores: Floats, layer: int, head: int) -> Floats:
        """Turn scores into weights in place, and return each row's share of the sink."""
        index, row = self._index(layer, head)
        sinks = self.sinks[index]
        top = scores.max(axis=1, keepdims=True)
        sink = np.full_like(top, -np.inf) if sinks is None else np.full_like(top, sinks[row])
        np.maximum(top, sink, out=top)
        scores -= top
        np.exp(scores, out=scores)
        sink_share: Floats = np.exp(sink - top)
        total: Floats = scores.sum(axis=1, keepdims=True) + sink_share
        scores /= total
        mass: Floats = sink_share[:, 0] / total[:, 0]
        return mass

    def _kv_row(self, head: int) -> int:
        return sorted({self.kv_head(captured) for captured in self.heads}).index(self.kv_head(head))

    def _index(self, layer: int, head: int) -> tuple[int, int]:
        for name, value, captured in (("layer", layer, self.layers), ("head", head, self.heads)):
            if value not in captured:
                raise ValueError(f"{name}={value!r} is not allowed; captured are {_spans(captured)}")
        return self.layers.index(layer), self.heads.index(head)

    def _check(self) -> None:
        """Raise ValueError unless all shapes agree: a saved file may come from a stranger."""
        num_keys, num_queries = len(self.tokens), len(self.query_positions)
        _require(self.token_ids.shape == (num_keys,), "token_ids must have one entry for each token")
        _require(self.query_positions.ndim == 1, "query_positions must have one dimension")
        _require(num_keys > 0 and num_queries > 0, "there must be at least one token and one query")
        ascending = bool((np.diff(self.query_positions) > 0).all())
        inside = self.query_positions[0] >= 0 and self.query_positions[-1] < num_keys
        _require(ascending and bool(inside), "query_positions must ascend within the tokens")
        _require(
            0 < self.num_kv_heads <= self.num_heads and self.num_heads % self.num_kv_heads == 0,
            "num_kv_heads must divide num_heads",
        )
        for name, captured, count in (
            ("layers", self.layers, self.num_layers),
            ("heads", self.heads, self.num_heads),
        ):
            known = all(0 <= index < count for index in captured)
            _require(bool(captured) and known, f"{name} must name some of {count}")
            _require(tuple(sorted(set(captured))) == captured, f"{name} must ascend")
        _require(len(self.sliding_windows) == self.num_layers, "sliding_windows must have one entry a layer")
        _require(all(w is None or w > 0 for w in self.sliding_windows), "a sliding window must be positive")
        for name in ("queries", "keys", "scalings", "softcaps", "sinks"):
            _require(len(getattr(self, name)) == len(self.layers), f"{name} must have one entry a layer")
        num_kv = len({self.kv_head(head) for head in self.heads})
        for queries, keys, sinks in zip(self.queries, self.keys, self.sinks, strict=True):
            _require(queries.shape[:2] == (len(self.heads), num_queries), "queries have a wrong shape")
            _require(keys.shape[:2] == (num_kv, num_keys), "keys have a wrong shape")
            _require(queries.ndim == keys.ndim == 3, "queries and keys must have three dimensions")
            _require(queries.shape[2:] == keys.shape[2:], "queries and keys differ in head size")
            _require(sinks is None or sinks.shape == (len(self.heads),), "sinks have a wrong shape")
        if self.edit is not None:
            _require(0 <= self.edit.position < num_keys, "edit.position must be a token's")
            _require(self.edit.output_change.shape == (num_queries,), "edit.output_change has a wrong shape")


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)


def _arrays(value: Any) -> list[NDArray[Any]]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, AttentionEdit):
        return [value.output_change]
    if isinstance(value, tuple):
        return [item for item in value if isinstance(item, np.ndarray)]
    return []


def _spans(numbers: Sequence[int]) -> str:
    """Write ascending numbers as `0 to 7` or `0, 2, 5`."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))
