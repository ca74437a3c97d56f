"""`SlotTables`: where each sequence's tokens lie in the cache, kept from step to step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from llmwidgets.engine.kv_cache import Slots


class SlotTables:
    """Slots by sequence; block tables only grow, so a step adds the slots of new blocks."""

    def __init__(self, block_size: int, device: torch.device) -> None:
        """Know no sequence yet."""
        self.block_size = block_size
        self.device = device
        self._inside = torch.arange(block_size, device=device)
        self._slots: dict[str, Tensor] = {}
        self._num_blocks: dict[str, int] = {}

    def slots(self, name: str, block_ids: Sequence[int], num_tokens: int) -> Slots:
        """Return the slots of a sequence's first `num_tokens` positions.

        A slice where the blocks lie in a row, so that reading copies nothing.
        """
        first = block_ids[0]
        if all(block_id == first + index for index, block_id in enumerate(block_ids)):
            return slice(first * self.block_size, first * self.block_size + num_tokens)
        known = self._num_blocks.get(name, 0)
        if known < len(block_ids):
            starts = torch.tensor(block_ids[known:], device=self.device) * self.block_size
            new = (starts[:, None] + self._inside).flatten()
            self._slots[name] = torch.cat([self._slots[name], new]) if known else new
            self._num_blocks[name] = len(block_ids)
        return self._slots[name][:num_tokens]

    def forget(self, name: str) -> None:
        """Forget a sequence whose blocks were taken away."""
        self._slots.pop(name, None)
        self._num_blocks.pop(name, None)

    def clear(self) -> None:
        """Forget all sequences."""
        self._slots.clear()
        self._num_blocks.clear()
