"""`CompatibleForward`: the model's own attention and masks over the paged cache, one pass a sequence.

For families that do not hand their attention to Transformers' interface. What they do hand over is their
cache: a layer of it is replaced by one that keeps keys and values in the blocks of a `KVCache`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from llmwidgets.engine.batch import Batch, Chunk, LayerFacts, Span
from llmwidgets.engine.capture import Capture
from llmwidgets.engine.forward import Forward
from llmwidgets.engine.kv_cache import KVCache, Slots


@dataclass(frozen=True)
class Place:
    """Where keys and values of one sequence lie during one pass."""

    cache: KVCache
    num_computed: int
    """Positions whose keys and values are there."""
    new_slots: Tensor  # (n,) those of the tokens of this pass
    slots: Slots
    """Of all positions, these included."""


class PagedLayer(CacheLayerMixin):
    """One layer of one sequence during one pass, as Transformers' models see it.

    All keys so far are there, in a sliding layer too: its mask hides those outside the window.
    """

    is_sliding = False

    def __init__(self, layer: int, config: Any, place: Place, facts: dict[int, LayerFacts]) -> None:
        """Stand for `layer` of a sequence; `facts` will hold what it caches. Nothing is written yet."""
        super().__init__()
        self._layer, self._config, self._place, self._facts = layer, config, place, facts
        self._num_tokens = place.num_computed

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the storage belongs to the `KVCache`."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new tokens' keys (1, H_kv, n, D) and values; return those of all positions.

        Raises:
            ValueError: if they are not of this shape, or come a second time.
        """
        place, new = self._place, len(self._place.new_slots)
        for name, states in (("keys", key_states), ("values", value_states)):
            if states.ndim != 4 or states.shape[0] != 1 or states.shape[2] != new:
                raise ValueError(
                    f"layer {self._layer} caches {name} of shape {tuple(states.shape)}; allowed is "
                    f"(1, key-value heads, {new} tokens, size)"
                )
        if self._num_tokens != place.num_computed:
            raise ValueError(f"layer {self._layer} writes its cache more than once in a pass")
        self._num_tokens += new
        self._note(key_states, value_states)
        keys, values = key_states[0].transpose(0, 1), value_states[0].transpose(0, 1)  # (n, H_kv, D)
        place.cache.write(self._layer, place.new_slots, keys, values)
        seen = place.cache.read(self._layer, place.slots)
        # In a row in memory, as Transformers' own layers return them: models may ask for a view.
        return (
            seen.keys.transpose(0, 1).contiguous()[None],
            seen.values.transpose(0, 1).contiguous()[None],
        )

    def get_seq_length(self) -> int:
        """Return how many positions are in the cache, the new ones too once they are written."""
        return self._num_tokens

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys a mask covers, and the position of the first."""
        return self._num_tokens + query_length, 0

    def get_max_length(self) -> int:
        """Return -1, which is Transformers' word for no limit."""
        return -1

    def _note(self, key_states: Tensor, value_states: Tensor) -> None:
        self._facts[self._layer] = LayerFacts(
            num_heads=self._config.num_attention_heads,
            num_kv_heads=key_states.shape[1],
            key_size=key_states.shape[3],
            value_size=value_states.shape[3],
            bytes_per_number=key_states.element_size(),
            scaling=None,
            sliding_window=None,
            softcap=None,
            sinks=None,
        )


class PagedCache(Cache):
    """Layers of one sequence during one pass; refuses what has no place in blocks of keys and values."""

    def refuse(self, *args: Any, **kwargs: Any) -> Any:
        """Raise ValueError.

        Such states are of the whole sequence so far (Mamba, linear attention), or a second kind of key.
        """
        raise ValueError("its cache holds states other than keys and values of each token")

    get_conv_state = update_conv_state = get_recurrent_state = update_recurrent_state = refuse
    has_previous_state = update_indexer = refuse


class CompatibleForward(Forward):
    """Runs the chunks of a batch one after the other, so a chunk may read what an earlier one wrote."""

    path = "compatible"
    gate = "Transformers' cache with keys and values of each token"

    def prepare(
        self, chunks: Sequence[Chunk], cache: KVCache | None = None, capture: Capture | None = None
    ) -> Batch:
        """Put chunks into one batch; nothing is computed yet.

        Raises:
            ValueError: if queries are to be captured: the model keeps them to itself.
        """
        if capture is not None:
            family = self.model.config.model_type
            raise ValueError(
                f"the attention of the family {family!r} cannot be seen: its queries stay inside the model; "
                "allowed are engines whose path is 'packed'"
            )
        return super().prepare(chunks, cache)

    def run(self, batch: Batch) -> Tensor:
        """Run the chunks in their order, by the model's own attention."""
        with self.lock, torch.inference_mode():
            return torch.cat([self._run_one(batch, span) for span in batch.spans])

    def _run_one(self, batch: Batch, span: Span) -> Tensor:
        inside = (batch.logit_rows >= span.start) & (batch.logit_rows < span.stop)
        rows = batch.logit_rows[inside] - span.start
        asked: dict[str, Any] = {"use_cache": False}
        if batch.cache is not None and batch.slot_mapping is not None and span.slots is not None:
            new_slots = batch.slot_mapping[span.start : span.stop]
            place = Place(batch.cache, span.num_computed, new_slots, span.slots)
            asked = {"use_cache": True, "past_key_values": self._cache(place, batch.layers)}
        if "position_ids" in self._parameters:  # families with ALiBi have none
            asked["position_ids"] = batch.positions[span.start : span.stop][None]
        keeps_logits = "logits_to_keep" in self._parameters
        if keeps_logits:
            asked["logits_to_keep"] = rows
        token_ids = batch.token_ids[span.start : span.stop]
        logits: Tensor = self.model(input_ids=token_ids[None], **asked).logits[0]
        return logits if keeps_logits else logits[rows]

    def _cache(self, place: Place, facts: dict[int, LayerFacts]) -> Cache:
        config = self.model.config.get_text_config(decoder=True)
        layers = range(config.num_hidden_layers)
        return PagedCache(layers=[PagedLayer(layer, config, place, facts) for layer in layers])
