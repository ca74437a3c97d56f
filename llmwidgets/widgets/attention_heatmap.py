"""`AttentionHeatmap`: who looks at whom, one head large and all heads small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from llmwidgets.records.attention import Attention
from llmwidgets.widgets.attention_source import AttentionSource, given_attention
from llmwidgets.widgets.attention_tiles import WHOLE, View, thumbnails, tile, whole_map
from llmwidgets.widgets.figure import RecordFigure, pack

PAGE_BYTES = 8 * 2**20  # up to here an exported page holds every head and stays interactive


class AttentionHeatmap(RecordFigure):
    """Draws the attention weights of an `Attention` record: a row is a query token, a column a key token."""

    stem = "attention_heatmap"

    layer = traitlets.Int(0).tag(sync=True)
    """The layer that is shown large: one of the record's `layers`."""

    head = traitlets.Int(0).tag(sync=True)
    """The query head that is shown large: one of the record's `heads`."""

    selected_token = traitlets.Int(None, allow_none=True).tag(sync=True)
    """Position of the query token whose row is read in the text strip, or None."""

    pinned_tokens = traitlets.List(traitlets.Int()).tag(sync=True)
    """Positions of the query tokens whose rows are added up in the text strip."""

    scale = traitlets.Enum(["sqrt", "linear"], "sqrt").tag(sync=True)
    """How a weight becomes a colour: by its square root, so that small weights show, or directly."""

    overlay = traitlets.Bool(True).tag(sync=True)
    """Whether causal mask, sliding window and attention sink are marked on the map."""

    _facts = traitlets.Dict().tag(sync=True)  # tokens, layers, heads: what changes with the record only
    _map = traitlets.Dict().tag(sync=True, to_json=pack)  # the head in view, see attention_tiles
    _thumbnails = traitlets.Dict().tag(sync=True, to_json=pack)
    _all_maps = traitlets.List().tag(sync=True, to_json=pack)  # every head, only in exported pages
    _view = traitlets.List(traitlets.Int()).tag(sync=True)  # [row start, stop, column start, stop]
    _thumbnails_wanted = traitlets.Int(0).tag(sync=True)  # the front end asks once the large map is painted

    def __init__(self, record: Attention | AttentionSource, **traits: Any) -> None:
        self._source: AttentionSource = record
        start = {"layer": record.layers[0], "head": record.heads[0]}
        measured = {"badge": "MEASURED"} if isinstance(record, Attention) else {}
        self._revision = 0
        super().__init__(record, **(start | measured | traits))

    @classmethod
    def from_arrays(
        cls,
        weights: ArrayLike,
        tokens: Sequence[str],
        *,
        query_tokens: Sequence[int] | None = None,
        num_kv_heads: int | None = None,
        **traits: Any,
    ) -> AttentionHeatmap:
        """Draw your own weights; needs no engine and no torch.

        Args:
            weights: shares from 0 to 1, shape (Q, K), (heads, Q, K) or (layers, heads, Q, K).
            tokens: the text of each of the K key positions.
            query_tokens: the position of each row's token among `tokens`; by default the last Q positions.
            num_kv_heads: key-value heads; by default as many as query heads.
            traits: `layer`, `head`, `scale` and the other public traits.

        Raises:
            ValueError: for NaN, weights outside 0 to 1, or shapes and lengths that do not match.
        """
        return cls(given_attention(weights, tokens, query_tokens, num_kv_heads), **traits)

    @property
    def record(self) -> Attention | AttentionSource:
        """The record that is drawn; set it to draw another in the same place."""
        return self._source

    @record.setter
    def record(self, record: Attention | AttentionSource) -> None:
        self._show(record)

    def _show(self, source: AttentionSource) -> None:
        layer = self.layer if self.layer in source.layers else source.layers[0]
        head = self.head if self.head in source.heads else source.heads[0]
        # Weights first: if they fail, the last good picture stays as it was.
        shown = self._cut(source, layer, head, [])
        with self.hold_sync(), self.hold_trait_notifications():
            self._source = source
            self._revision += 1
            self.layer, self.head, self._view = layer, head, []
            kept = [token for token in self.pinned_tokens if token in source.query_positions]
            self.pinned_tokens = kept
            if self.selected_token not in source.query_positions:
                self.selected_token = None
            self._facts = self._facts_of(source)
            self._map = shown
            self._thumbnails = {}
            self._all_maps = []

    def _facts_of(self, source: AttentionSource) -> dict[str, Any]:
        edit = getattr(source, "edit", None)
        return {
            "revision": self._revision,
            "tokens": list(source.tokens),
            "query_positions": [int(position) for position in source.query_positions],
            "layers": list(source.layers),
            "heads": list(source.heads),
            "kv_heads": [source.kv_head(head) for head in source.heads],
            "windows": [source.sliding_window(layer) for layer in source.layers],
            "tiled": self._tiled(source),
            "edited": None if edit is None else int(edit.position),
            "moved": [] if edit is None else [float(change) for change in edit.output_change],
        }

    @staticmethod
    def _tiled(source: AttentionSource) -> bool:
        return max(len(source.tokens), len(source.query_positions)) > WHOLE

    def _cut(self, source: AttentionSource, layer: int, head: int, view: Sequence[int]) -> dict[str, Any]:
        if not self._tiled(source):
            return whole_map(source, layer, head)
        shown = View(*view) if view else View(0, len(source.query_positions), 0, len(source.tokens))
        return tile(source, layer, head, shown)

    @traitlets.validate("layer", "head")
    def _known_head(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, int(proposal["value"])
        allowed = self._source.layers if name == "layer" else self._source.heads
        if value not in allowed:
            raise ValueError(f"{name}={value} is not in the record; allowed: {_ranges(allowed)}")
        return value

    @traitlets.validate("_view")
    def _inside(self, proposal: dict[str, Any]) -> list[int]:
        view = [int(edge) for edge in proposal["value"]]
        if not view:
            return view
        rows, columns = len(self._source.query_positions), len(self._source.tokens)
        if len(view) != 4 or not (0 <= view[0] < view[1] <= rows and 0 <= view[2] < view[3] <= columns):
            raise ValueError(f"view {view} is not inside the {rows} × {columns} cells of the map")
        return view

    @traitlets.validate("selected_token")
    def _known_token(self, proposal: dict[str, Any]) -> int | None:
        value = proposal["value"]
        if value is not None:
            self._check_positions("selected_token", [value])
        return None if value is None else int(value)

    @traitlets.validate("pinned_tokens")
    def _known_tokens(self, proposal: dict[str, Any]) -> list[int]:
        self._check_positions("pinned_tokens", proposal["value"])
        return [int(position) for position in dict.fromkeys(proposal["value"])]

    def _check_positions(self, name: str, positions: Sequence[int]) -> None:
        for position in positions:
            if position not in self._source.query_positions:
                rows = _ranges(sorted(int(row) for row in self._source.query_positions))
                raise ValueError(f"{name}={position} is no query position of the record; allowed: {rows}")

    @traitlets.observe("layer", "head", "_view")
    def _show_other(self, _change: object) -> None:
        if self._map:  # else the constructor is still at work
            self._map = self._cut(self._source, self.layer, self.head, self._view)

    @traitlets.observe("_thumbnails_wanted")
    def _send_thumbnails(self, _change: object) -> None:
        if self._thumbnails.get("revision") != self._revision:
            self._thumbnails = {"revision": self._revision, "shades": thumbnails(self._source)}

    def complete(self) -> None:
        """Compute the thumbnails, and all heads where they are small, for a page with no kernel to ask."""
        self._send_thumbnails(None)
        source = self._source
        heads = len(source.layers) * len(source.heads)
        if not self._tiled(source) and heads * self._map["cells"].nbytes <= PAGE_BYTES:
            self._all_maps = [whole_map(source, i, j) for i in source.layers for j in source.heads]

    def to_text(self) -> str:
        """Return the shown head in words: for up to 12 query tokens the keys they look at most."""
        source, layer, head = self._source, self.layer, self.head
        rows = len(source.query_positions)
        lines = [
            f"Attention weights of layer {layer}, head {head} (reads KV head {source.kv_head(head)}): "
            f"{rows} query tokens × {len(source.tokens)} key tokens"
        ]
        for start in range(max(0, rows - 12), rows):
            weights = source.weights_rows(layer, head, start, start + 1)[0]
            query = int(source.query_positions[start])
            most = np.argsort(-weights, kind="stable")[:3]
            seen = ", ".join(
                f"{source.tokens[key]!r}@{key} {weights[key]:.2f}" for key in most if weights[key]
            )
            lines.append(f"  {source.tokens[query]!r}@{query} looks at {seen}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        rows, columns = len(self._source.query_positions), len(self._source.tokens)
        return f"AttentionHeatmap(layer={self.layer}, head={self.head}, queries={rows}, keys={columns})"


def _ranges(numbers: Sequence[int]) -> str:
    numbers = list(numbers)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))
