"""`Forward`: ragged chunks of sequences through an unmodified model; `PackedForward`: all in one row."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from llmwidgets.engine import attention
from llmwidgets.engine.batch import Batch, Chunk, Span
from llmwidgets.engine.capture import Capture
from llmwidgets.engine.kv_cache import KVCache

# A model's attention implementation is switched for the time of a pass, so engines over one model share a
# lock. That makes it the process's, like the interfaces that the function is registered with.
_locks: WeakKeyDictionary[torch.nn.Module, Any] = WeakKeyDictionary()


class Forward(ABC):
    """Runs batches of one model over a paged cache; how keys and values reach the cache is the path's own."""

    path: ClassVar[Literal["packed", "compatible"]]
    gate: ClassVar[str]
    """Where the path meets each layer, in words."""

    def __init__(self, model: Any) -> None:
        """Learn what a causal LM of Transformers takes; the model stays as it is."""
        self.model = model
        self.lock = _locks.setdefault(model, RLock())
        self._parameters = frozenset(inspect.signature(model.forward).parameters)

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    def prepare(
        self, chunks: Sequence[Chunk], cache: KVCache | None = None, capture: Capture | None = None
    ) -> Batch:
        """Pack chunks into one batch; nothing is computed yet."""
        token_ids: list[int] = []
        positions: list[int] = []
        logit_rows: list[int] = []
        spans, slots = [], []
        for chunk in chunks:
            start, stop = len(token_ids), len(token_ids) + len(chunk.token_ids)
            spans.append(Span(start, stop, chunk.num_computed, chunk.slots))
            token_ids += chunk.token_ids
            positions += range(chunk.num_computed, chunk.num_computed + len(chunk.token_ids))
            logit_rows += range(stop - chunk.num_logits, stop)
            if isinstance(chunk.slots, slice):
                slots.append(torch.arange(chunk.slots.start, chunk.slots.stop)[chunk.num_computed :])
            elif chunk.slots is not None:
                slots.append(chunk.slots[chunk.num_computed :].cpu())
        return Batch(
            token_ids=torch.tensor(token_ids, device=self.device),
            positions=torch.tensor(positions, device=self.device),
            logit_rows=torch.tensor(logit_rows, dtype=torch.long, device=self.device),
            spans=spans,
            slot_mapping=None if cache is None else torch.cat(slots).to(self.device),
            cache=cache,
            capture=capture,
        )

    @abstractmethod
    def run(self, batch: Batch) -> Tensor:
        """Run the model, write the cache, and return the wanted logits, shape (M, vocabulary)."""

    def plain(self, token_ids: Sequence[int]) -> Tensor:
        """Return the logits of all positions, shape (T, vocabulary), by the model's own attention."""
        with self.lock, torch.inference_mode():
            ids = torch.tensor([list(token_ids)], device=self.device)
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits[0]
            return logits


class PackedForward(Forward):
    """One pass for the whole batch, by our attention function.

    Outside a pass the model is as it was, and usable as plain Transformers.
    """

    path = "packed"
    gate = "Transformers' attention interface"

    def __init__(self, model: Any) -> None:
        """Find the places where the model's attention is chosen."""
        super().__init__(model)
        attention.register()
        found = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
        self._configs = [c for c in found.values() if hasattr(c, "_attn_implementation_internal")]
        self._keeps_logits = "logits_to_keep" in self._parameters

    def run(self, batch: Batch) -> Tensor:
        """Run all chunks at once."""
        keep = {"logits_to_keep": batch.logit_rows} if self._keeps_logits else {}
        with self.lock, torch.inference_mode(), self._our_attention(batch):
            output = self.model(
                input_ids=batch.token_ids[None], position_ids=batch.positions[None], use_cache=False, **keep
            )
            logits: Tensor = output.logits[0]
            return logits if keep else logits[batch.logit_rows]

    @contextmanager
    def _our_attention(self, batch: Batch) -> Iterator[None]:
        """Switch the model to our attention function and hand it the batch."""
        own = [config._attn_implementation_internal for config in self._configs]
        token = attention.current_batch.set(batch)
        try:
            for config in self._configs:  # the public setter checks and recurses: too slow for each step
                config._attn_implementation_internal = attention.NAME
            yield
        finally:
            for config, name in zip(self._configs, own, strict=True):
                config._attn_implementation_internal = name
            attention.current_batch.reset(token)
