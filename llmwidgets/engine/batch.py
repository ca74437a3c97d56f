"""`Batch`: one packed forward pass, tokens of many sequences in a row, and what was seen on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from llmwidgets.engine.kv_cache import KVCache, Slots

if TYPE_CHECKING:
    from llmwidgets.engine.attention import Attend
    from llmwidgets.engine.capture import Capture


@dataclass(frozen=True)
class Chunk:
    """Tokens of one sequence to compute next, after those that the cache holds already."""

    token_ids: list[int]
    num_computed: int = 0
    """Positions before these, whose keys and values are in the cache."""
    slots: Slots | None = None
    """Slots of all positions, computed ones and these; None without a cache."""
    num_logits: int = 1
    """For how many of the last tokens logits are wanted; from 0 to all."""


@dataclass(frozen=True)
class Span:
    """Where a sequence's tokens lie in the packed row."""

    start: int
    stop: int
    num_computed: int
    slots: Slots | None


@dataclass(frozen=True)
class LayerFacts:
    """What one layer caches and how it attends, as observed."""

    num_heads: int
    num_kv_heads: int
    key_size: int
    value_size: int
    bytes_per_number: int
    scaling: float | None
    """None, like all below, on the compatible path: how the layer attends stays inside the model."""
    sliding_window: int | None
    softcap: float | None
    sinks: Tensor | None


@dataclass(frozen=True)
class WantedMask:
    """A mask that the model asked Transformers for."""

    allows: Callable[..., Any]
    """`(batch, head, query position, key position)` to whether the query sees the key."""
    local_size: int | None
    """The sliding window or the chunk, if there is one."""


@dataclass
class Batch:
    """The packed batch that the attention function reads, and where it leaves what it saw."""

    token_ids: Tensor  # (N,)
    positions: Tensor  # (N,)
    logit_rows: Tensor  # (M,) places in the row whose logits are wanted
    spans: list[Span]
    slot_mapping: Tensor | None  # (N,) the slot of each new token; None without a cache
    cache: KVCache | None
    capture: Capture | None = None
    layers: dict[int, LayerFacts] = field(default_factory=dict)
    masks: list[WantedMask] = field(default_factory=list)

    def note_layer(self, layer: int, query: Tensor, key: Tensor, value: Tensor, attend: Attend) -> None:
        """Record that a layer was reached, and keep its queries if they are wanted."""
        self.layers[layer] = LayerFacts(
            num_heads=query.shape[1],
            num_kv_heads=key.shape[1],
            key_size=key.shape[3],
            value_size=value.shape[3],
            bytes_per_number=key.element_size(),
            scaling=attend.scaling,
            sliding_window=attend.sliding_window,
            softcap=attend.softcap,
            sinks=attend.sinks,
        )
        if self.capture is not None:
            self.capture.keep(layer, query[0])

    def note_mask(self, allows: Callable[..., Any], local_size: int | None) -> None:
        """Record which mask the model wanted."""
        self.masks.append(WantedMask(allows, local_size))
