"""`KVCache`: keys and values of all layers in blocks of equal size, written and read by slot.

Slot s is place s % block_size of block s // block_size (Kwon et al. 2023, PagedAttention, section 4.1).
Who owns which block is decided elsewhere; this is only the storage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Slots = slice | Tensor
"""Slots of a sequence in order: a slice where they lie in a row, so that reading copies nothing."""


@dataclass(frozen=True)
class KeysAndValues:
    """What a sequence sees in one layer."""

    keys: Tensor  # (S, H_kv, D)
    values: Tensor  # (S, H_kv, D_v)


class KVCache:
    """Blocks of keys and values; a layer's storage is born with its first write, which gives the shape."""

    def __init__(self, num_blocks: int, block_size: int = 16) -> None:
        """Plan `num_blocks` blocks of `block_size` tokens; nothing is allocated yet."""
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._layers: dict[int, KeysAndValues] = {}

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put the N tokens' keys (N, H_kv, D) and values (N, H_kv, D_v) into their slots (N,)."""
        if layer not in self._layers:
            num_slots = self.num_blocks * self.block_size
            self._layers[layer] = KeysAndValues(
                keys.new_empty(num_slots, *keys.shape[1:]), values.new_empty(num_slots, *values.shape[1:])
            )
        held = self._layers[layer]
        held.keys.index_copy_(0, slots, keys)
        held.values.index_copy_(0, slots, values)

    def read(self, layer: int, slots: Slots) -> KeysAndValues:
        """Return keys and values of the slots, in their order."""
        held = self._layers[layer]
        if isinstance(slots, slice):
            return KeysAndValues(held.keys[slots], held.values[slots])
        # index_select copies whole rows: four times as fast as indexing by a tensor.
        return KeysAndValues(held.keys.index_select(0, slots), held.values.index_select(0, slots))

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token takes in all layers together; 0 before the first write."""
        return sum(
            (held.keys[0].numel() + held.values[0].numel()) * held.keys.element_size()
            for held in self._layers.values()
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the whole storage."""
        return self.bytes_per_token * self.num_blocks * self.block_size


@dataclass
class BlockTable:
    """The blocks of one sequence, in order; it only grows."""

    block_size: int
    blocks: list[int]

    def slots(self, num_tokens: int, device: torch.device) -> Slots:
        """Return the slots of the first `num_tokens` positions."""
        first = self.blocks[0]
        if self.blocks == list(range(first, first + len(self.blocks))):
            return slice(first * self.block_size, first * self.block_size + num_tokens)
        starts = torch.tensor(self.blocks, device=device) * self.block_size
        return (starts[:, None] + torch.arange(self.block_size, device=device)).flatten()[:num_tokens]


def num_blocks_for(num_tokens: int, block_size: int) -> int:
    """Return how many blocks hold `num_tokens` tokens."""
    return -(-num_tokens // block_size)
