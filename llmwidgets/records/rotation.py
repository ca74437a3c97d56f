"""`Rotation`: queries and keys before they are turned, and the angles that turn them (RoPE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmwidgets.records.position_loss import PositionLoss
from llmwidgets.records.record import Record
from llmwidgets.records.rope import Rope, apply_rope

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Rotation(Record):
    """How one model turns positions into angles, and what that does to the scores of its queries and keys."""

    default_view: ClassVar[str | None] = "llmwidgets.widgets.rotary_dial:RotaryDial"

    tokens: tuple[str, ...]
    """Display text of each token of the prompt, length T."""
    token_ids: NDArray[np.int64]
    """The prompt as the model saw it, shape (T,)."""
    num_layers: int
    """Layers of the model."""
    num_heads: int
    """Query heads of a layer."""
    num_kv_heads: int
    """Key-value heads of a layer; each is read by num_heads / num_kv_heads query heads."""
    layers: tuple[int, ...]
    """The captured layers, ascending; all of them turn by the same angles."""
    heads: tuple[int, ...]
    """The captured query heads, ascending, the same in each captured layer."""
    queries: tuple[Floats, ...]
    """For each captured layer, before they are turned, shape (len(heads), T, D)."""
    keys: tuple[Floats, ...]
    """For each captured layer, before they are turned, shape (key-value heads read by `heads`, T, D)."""
    multipliers: tuple[float, ...]
    """What each captured layer multiplies query · key with, usually 1 / √D."""
    interleaved: bool
    """Whether pair f is the numbers 2 f and 2 f + 1 of a head, or else f and f + F."""
    first_turned: int
    """The first of the D numbers that is turned; 2 F of them are (partial rotary embedding)."""
    rope_type: str
    """Transformers' name of the model's own way, such as `"default"` or `"llama3"`."""
    rope_theta: float
    """The base b: before any scaling, pair f turns by b^(-f / F) radians a position."""
    trained_length: int
    """Positions that the model was trained on."""
    ropes: tuple[Rope, ...]
    """The model's own frequencies (`"none"`), then each scaling that was asked for."""
    max_distance: int
    """How far apart queries and keys are looked at."""
    shifts: tuple[int, ...]
    """By how much query and key were moved together to measure `shift_changes`."""
    shift_changes: Floats
    """The largest |score(i + s, j + s) - score(i, j)| over `shifts`, the last token's query i and every key
    j, computed in float32 as the model does; shape (len(layers), len(heads))."""
    loss: PositionLoss | None = None
    """How well a text was predicted by position, if one was given."""
    model: str = ""
    """Name of the model."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not agree, and make the arrays read-only."""
        self._check()
        self.token_ids.flags.writeable = False
        for array in (self.shift_changes, *self.queries, *self.keys):
            array.flags.writeable = False

    @property
    def scalings(self) -> tuple[str, ...]:
        """The names of `ropes`."""
        return tuple(rope.scaling for rope in self.ropes)

    @property
    def inv_freq(self) -> Floats:
        """The model's own radians a position, the fastest first, shape (F,)."""
        return self.rope().frequencies(1)

    @property
    def shift_change(self) -> float:
        """The largest of `shift_changes`."""
        return float(self.shift_changes.max())

    def rope(self, scaling: str = "none") -> Rope:
        """Return the frequencies of one scaling.

        Raises:
            ValueError: if it was not asked for.
        """
        if scaling not in self.scalings:
            raise ValueError(
                f"scaling={scaling!r} is not in the record; allowed are {', '.join(map(repr, self.scalings))}"
            )
        return self.ropes[self.scalings.index(scaling)]

    def kv_head(self, head: int) -> int:
        """Return the key-value head that the query head `head` reads."""
        return head * self.num_kv_heads // self.num_heads

    def turned(self, x: ArrayLike, positions: ArrayLike, scaling: str = "none") -> Floats:
        """Return queries or keys of this model, shape (..., D), turned for positions of shape (...)."""
        rope = self.rope(scaling)
        return apply_rope(
            x, rope.angles(positions), rope.attention_factor, self.interleaved, self.first_turned
        )

    def scores(
        self,
        layer: int,
        head: int,
        query_token: int,
        key_token: int,
        distances: ArrayLike | None = None,
        scaling: str = "none",
        length: int | None = None,
    ) -> Floats:
        """Return query · key of two tokens of the prompt as if they stood at other distances.

        The two vectors stay what they are; only the angles change. Scores are scaled by the layer's
        multiplier, before softcap and softmax.

        Args:
            layer: one of `layers`.
            head: one of `heads`.
            query_token: index of the token whose query is taken.
            key_token: index of the token whose key is taken.
            distances: positions from key to query, at least 0, shape (n,); by default 0 to `max_distance`.
            scaling: one of `scalings`.
            length: tokens of the sequence, where frequencies depend on it; by default the fewest in which
                two tokens stand that far apart.

        Returns:
            Scores, shape (n,).

        Raises:
            ValueError: for a layer, head, token or scaling that is not in the record.
        """
        query, key = self.query(layer, head, query_token), self.key(layer, head, key_token)
        apart = np.arange(self.max_distance + 1) if distances is None else np.asarray(distances)
        rope = self.rope(scaling)
        # The key stands at 0, and the query at its distance.
        angles = rope.angles(apart, length=apart + 1 if length is None else length)
        how = (rope.attention_factor, self.interleaved, self.first_turned)
        at_zero = apply_rope(key, np.zeros_like(angles[:1]), *how)[0]
        scores: Floats = apply_rope(query, angles, *how) @ at_zero
        return scores * np.float32(self.multipliers[self.layers.index(layer)])

    def query(self, layer: int, head: int, token: int) -> Floats:
        """Return one token's query before it is turned, shape (D,)."""
        self._require_captured(layer, head, token)
        query: Floats = self.queries[self.layers.index(layer)][self.heads.index(head), token]
        return query

    def key(self, layer: int, head: int, token: int) -> Floats:
        """Return the key that `head` reads of one token, before it is turned, shape (D,)."""
        self._require_captured(layer, head, token)
        key: Floats = self.keys[self.layers.index(layer)][self.kv_row(head), token]
        return key

    def kv_row(self, head: int) -> int:
        """Return the row of `keys` that the query head `head` reads."""
        return sorted({self.kv_head(captured) for captured in self.heads}).index(self.kv_head(head))

    @property
    def nbytes(self) -> int:
        """Bytes of the queries and keys that are held."""
        return sum(array.nbytes for array in (*self.queries, *self.keys))

    def __repr__(self) -> str:
        """Return one line with the base, the frequencies and what was captured."""
        loss = f", loss over {self.loss.edges[-1]} positions" if self.loss else ""
        return (
            f"Rotation({len(self.tokens)} tokens, {len(self.layers)} of {self.num_layers} layers, "
            f"{len(self.heads)} of {self.num_heads} heads, {self.ropes[0].inv_freq.shape[1]} frequencies, "
            f"rope_theta={self.rope_theta:g}, trained_length={self.trained_length}{loss})"
        )

    def _require_captured(self, layer: int, head: int, token: int) -> None:
        for name, value, captured in (("layer", layer, self.layers), ("head", head, self.heads)):
            if value not in captured:
                raise ValueError(
                    f"{name}={value!r} is not in the record; allowed are {', '.join(map(str, captured))}"
                )
        if not 0 <= token < len(self.tokens):
            raise ValueError(f"token={token} is not in the prompt; allowed are 0 to {len(self.tokens) - 1}")

    def _check(self) -> None:
        """Raise ValueError unless all shapes agree: a saved file may come from a stranger."""
        num_tokens = len(self.tokens)
        _require(num_tokens > 0 and self.token_ids.shape == (num_tokens,), "token_ids must fit the tokens")
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
        for name in ("queries", "keys", "multipliers"):
            _require(len(getattr(self, name)) == len(self.layers), f"{name} must have one entry a layer")
        num_kv = len({self.kv_head(head) for head in self.heads})
        for queries, keys in zip(self.queries, self.keys, strict=True):
            _require(queries.ndim == keys.ndim == 3, "queries and keys must have three dimensions")
            _require(queries.shape[:2] == (len(self.heads), num_tokens), "queries have a wrong shape")
            _require(keys.shape == (num_kv, num_tokens, queries.shape[2]), "keys have a wrong shape")
            turned = self.first_turned + 2 * self.ropes[0].inv_freq.shape[1] if self.ropes else 0
            _require(0 <= self.first_turned < turned <= queries.shape[2], "heads are too small to be turned")
        _require(bool(self.ropes) and self.ropes[0].scaling == "none", "the first of ropes must be 'none'")
        _require(len(set(self.scalings)) == len(self.scalings), "the ropes must have names of their own")
        _require(len({rope.inv_freq.shape[1] for rope in self.ropes}) == 1, "the ropes differ in frequencies")
        _require(self.trained_length > 0 and self.max_distance > 0, "lengths must be positive")
        _require(
            self.shift_changes.shape == (len(self.layers), len(self.heads)),
            "shift_changes must have one entry for each captured layer and head",
        )


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
