"""`RotaryDial`: position as an angle, one dial a frequency; what it does to scores and to perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from llmwidgets.records.rotation import Rotation
from llmwidgets.widgets.figure import RecordFigure, pack
from llmwidgets.widgets.rotary_dial_source import (
    RotationSource,
    given_rotation,
    strongest_key,
    vectors,
)

PAGE_BYTES = 4 * 2**20  # up to here an exported page holds every head and stays interactive


class RotaryDial(RecordFigure):
    """Draws a `Rotation`: two hands on each dial, turned by the positions of a query and a key."""

    stem = "rotary_dial"

    layer = traitlets.Int(0).tag(sync=True)
    """The layer whose queries and keys are turned: one of the record's `layers`."""

    head = traitlets.Int(0).tag(sync=True)
    """The query head: one of the record's `heads`."""

    query_token = traitlets.Int(0).tag(sync=True)
    """Index of the token of the prompt whose query is taken."""

    key_token = traitlets.Int(0).tag(sync=True)
    """Index of the token of the prompt whose key is taken."""

    position = traitlets.Int(0).tag(sync=True)
    """Where the query stands, 0 to the record's `max_distance`; the key stands `distance` before it."""

    distance = traitlets.Int(0).tag(sync=True)
    """Positions from key to query, 0 to the record's `max_distance`; position follows where it is smaller."""

    frequency = traitlets.Int(None, allow_none=True).tag(sync=True)
    """The pair whose dial is shown large, 0 the fastest; None shows one of about eight turns in training."""

    scaling = traitlets.Unicode("none").tag(sync=True)
    """By which of the record's `scalings` the hands turn."""

    _facts = traitlets.Dict().tag(sync=True)  # what changes with the record only
    _frequencies = traitlets.List().tag(
        sync=True, to_json=pack
    )  # radians a position, (lengths, pairs) a rope
    _vectors = traitlets.Dict().tag(sync=True, to_json=pack)  # the head in view, before it is turned
    _all_vectors = traitlets.List().tag(sync=True, to_json=pack)  # every head, only in exported pages

    def __init__(self, record: RotationSource, **traits: Any) -> None:
        self._source: RotationSource = record
        self._revision = 0
        first = {name: traits.get(name, getattr(record, f"{name}s")[0]) for name in ("layer", "head")}
        query = traits.get("query_token", max(0, len(record.tokens) - 1))
        known = first["layer"] in record.layers and first["head"] in record.heads
        inside = known and 0 <= query < len(record.tokens)
        key = traits.get("key_token", strongest_key(record, **first, query_token=query) if inside else 0)
        # Without tokens the hands stand somewhere where they can be told apart.
        apart = max(0, query - key) if record.tokens else max(1, record.trained_length // 16)
        apart = traits.get("distance", min(apart, record.max_distance))
        start = {
            **first,
            "query_token": query,
            "key_token": key,
            "distance": apart,
            "position": max(query, apart) if record.tokens else min(2 * apart, record.max_distance),
            "scaling": record.scalings[0],
            "badge": "MEASURED" if isinstance(record, Rotation) else "GIVEN",
        }
        super().__init__(record, **(start | traits))

    @classmethod
    def from_arrays(
        cls,
        inv_freq: ArrayLike | Mapping[str, ArrayLike],
        *,
        scores: ArrayLike | None = None,
        perplexities: Mapping[str, ArrayLike] | None = None,
        edges: Sequence[int] | None = None,
        trained_length: int | None = None,
        max_distance: int | None = None,
        **traits: Any,
    ) -> RotaryDial:
        """Draw your own frequencies; needs no engine and no torch.

        Args:
            inv_freq: radians a position, the fastest first, shape (F,); or several by name, to choose from
                with `scaling`.
            scores: query · key by distance, from 0, shape (n,).
            perplexities: by name, one for each bucket of positions, shape (B,).
            edges: bounds of the buckets, ascending, shape (B + 1,).
            trained_length: positions that the model was trained on; by default 1,024.
            max_distance: how far query and key may stand apart; by default four trained lengths.
            traits: `position`, `distance`, `frequency` and the other public traits.

        Raises:
            ValueError: for values that are no numbers, or shapes and lengths that do not match.
        """
        made = given_rotation(inv_freq, scores, perplexities, edges, trained_length, max_distance)
        return cls(made, **traits)

    @property
    def record(self) -> RotationSource:
        """The record that is drawn; set it to draw another in the same place."""
        return self._source

    @record.setter
    def record(self, record: RotationSource) -> None:
        layer = self.layer if self.layer in record.layers else record.layers[0]
        head = self.head if self.head in record.heads else record.heads[0]
        shown = vectors(record, layer, head)
        last = max(0, len(record.tokens) - 1)
        with self.hold_sync(), self.hold_trait_notifications():
            self._source = record
            self._revision += 1
            self.layer, self.head = layer, head
            self.query_token, self.key_token = min(self.query_token, last), min(self.key_token, last)
            self.position = min(self.position, record.max_distance)
            self.distance = min(self.distance, record.max_distance)
            if self.frequency is not None and self.frequency >= record.ropes[0].inv_freq.shape[1]:
                self.frequency = None
            if self.scaling not in record.scalings:
                self.scaling = record.scalings[0]
            self._facts = self._facts_of(record)
            self._frequencies = [rope.inv_freq for rope in record.ropes]
            self._vectors = shown
            self._all_vectors = []

    def _facts_of(self, source: RotationSource) -> dict[str, Any]:
        shift_change = largest_shift = given = None
        if isinstance(source, Rotation):
            shift_change, largest_shift = source.shift_change, max(source.shifts)
        elif source.by_distance is not None:
            given = source.by_distance.tolist()
        loss = source.loss
        return {
            "revision": self._revision,
            "tokens": list(source.tokens),
            "layers": list(source.layers),
            "heads": list(source.heads),
            "trained_length": source.trained_length,
            "max_distance": source.max_distance,
            "shift_change": shift_change,
            "largest_shift": largest_shift,
            "scores": given,
            "ropes": [
                {
                    "scaling": rope.scaling,
                    "factor": rope.rope_parameters.get("factor"),
                    "attention_factor": rope.attention_factor,
                    "lengths": rope.lengths.tolist(),
                }
                for rope in source.ropes
            ],
            "loss": None
            if loss is None
            else {"scalings": list(loss.scalings), "edges": loss.edges.tolist(), "loss": loss.loss.tolist()},
        }

    @traitlets.validate("layer", "head", "scaling")
    def _known(self, proposal: dict[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        allowed = getattr(self._source, f"{name}s")
        if value not in allowed:
            raise ValueError(
                f"{name}={value!r} is not in the record; allowed are {', '.join(map(repr, allowed))}"
            )
        return value

    @traitlets.validate("position", "distance", "query_token", "key_token", "frequency")
    def _inside(self, proposal: dict[str, Any]) -> int | None:
        name, value = proposal["trait"].name, proposal["value"]
        if value is None:
            return None
        last = {
            "frequency": self._source.ropes[0].inv_freq.shape[1] - 1,
            "query_token": max(0, len(self._source.tokens) - 1),
            "key_token": max(0, len(self._source.tokens) - 1),
        }.get(name, self._source.max_distance)
        if not 0 <= value <= last:
            raise ValueError(f"{name}={value} is not in the record; allowed are 0 to {last}")
        return int(value)

    @traitlets.observe("layer", "head")
    def _show_other(self, _change: object) -> None:
        if self._facts:  # else the constructor is still at work
            self._vectors = vectors(self._source, self.layer, self.head)

    @traitlets.observe("distance")
    def _make_room(self, _change: object) -> None:
        self.position = max(self.position, self.distance)

    @traitlets.observe("position")
    def _come_along(self, _change: object) -> None:
        self.distance = min(self.distance, self.position)

    def complete(self) -> None:
        """Bring along all heads where they are small, for a page with no kernel to ask."""
        source = self._source
        if isinstance(source, Rotation) and 2 * source.nbytes <= PAGE_BYTES:
            self._all_vectors = [vectors(source, i, j) for i in source.layers for j in source.heads]

    def to_text(self) -> str:
        """Return the shown positions in words: angles of some pairs, the score, perplexities by position."""
        source = self._source
        rope = source.ropes[source.scalings.index(self.scaling)]
        frequencies = rope.frequencies(self.position + 1)
        lines = [
            f"Rotary dial: {len(frequencies)} pairs, scaling {self.scaling!r}; the query stands at "
            f"{self.position}, the key at {self.position - self.distance}, {self.distance} apart"
        ]
        if isinstance(source, Rotation):
            pair = (source.tokens[self.query_token], source.tokens[self.key_token])
            where = (self.layer, self.head, self.query_token, self.key_token, [self.distance], self.scaling)
            (score,) = source.scores(*where, length=self.position + 1)
            lines.append(
                f"  layer {self.layer}, head {self.head}, query of {pair[0]!r}, key of {pair[1]!r}: "
                f"score {score:.3f}"
            )
        for pair_index in np.unique(np.linspace(0, len(frequencies) - 1, 5).astype(int)).tolist():
            omega = float(frequencies[pair_index])
            turns = 2 * np.pi / abs(omega) if omega else np.inf
            between = np.degrees(self.distance * omega) % 360
            lines.append(
                f"  pair {pair_index}: one turn in {turns:.0f} positions, hands {between:.0f}° apart"
            )
        if source.loss is not None:
            for name in source.loss.scalings:
                written = ", ".join(f"{value:.0f}" for value in source.loss.perplexity(name))
                lines.append(f"  perplexity by position, {name}: {written}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        pairs = self._source.ropes[0].inv_freq.shape[1]
        return (
            f"RotaryDial(pairs={pairs}, position={self.position}, distance={self.distance}, "
            f"scaling={self.scaling!r})"
        )
