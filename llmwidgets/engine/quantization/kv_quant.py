"""Keys and values in 8 or 4 bits: each token's numbers on a grid of their own, made when it is written.

    s = (max x - min x) / (2^b - 1)        q = round((x - min x) / s)        x' = min x + s q

A grid serves one head of one token, or all its heads. (KIVI, Liu et al. 2024, has one a channel for keys,
which needs many tokens at once.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmwidgets.engine.kv_cache import KeysAndValues, KVCache, Slots
from llmwidgets.engine.quantization.linear import held_bytes
from llmwidgets.records.kv_shape import KVCacheDtype, KVCacheScale, KVShape


@dataclass(frozen=True)
class KVCodes:
    """Keys or values of some tokens."""

    codes: Tensor  # (N, H_kv, D) uint8; with 4 bits (N, H_kv, D / 2), the low half first
    grids: Tensor  # (N, H_kv or 1, 2) float32: step and smallest number


def quantize_kv(x: Tensor, bits: int, scale: KVCacheScale) -> KVCodes:
    """Return codes of keys or values.

    Args:
        x: shape (N, H_kv, D); with 4 bits D is even.
        bits: 8 or 4.
        scale: `"head"` for a grid for each head of a token, `"token"` for one for all of them.
    """
    x = x.float()
    over = (-1,) if scale == "head" else (-2, -1)
    low, high = x.amin(dim=over, keepdim=True), x.amax(dim=over, keepdim=True)
    step = (high - low) / (2**bits - 1)
    step = torch.where(step == 0, 1, step)  # all numbers alike
    codes = ((x - low) / step).round_().to(torch.uint8)
    if bits == 4:
        codes = codes[..., ::2] | codes[..., 1::2] << 4
    return KVCodes(codes, torch.cat([step, low], dim=-1))


def dequantize_kv(held: KVCodes, bits: int, dtype: torch.dtype) -> Tensor:
    """Return keys or values, shape (N, H_kv, D)."""
    codes = held.codes
    if bits == 4:
        codes = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
    step, low = held.grids.unbind(dim=-1)
    return codes.to(torch.float32).mul_(step[..., None]).add_(low[..., None]).to(dtype)


class QuantizedKVCache(KVCache):
    """Blocks of codes; what is read is what the codes stand for, also in the pass that wrote them."""

    def __init__(
        self, num_blocks: int, block_size: int, dtype: KVCacheDtype, scale: KVCacheScale = "head"
    ) -> None:
        """Plan blocks; nothing is allocated yet.

        Args:
            num_blocks: how many.
            block_size: tokens of a block.
            dtype: `"int8"` or `"int4"`.
            scale: what shares a grid, as in `quantize_kv`.
        """
        super().__init__(num_blocks, block_size)
        self.bits = 8 if dtype == "int8" else 4
        self.scale = scale
        self._dtypes: dict[int, torch.dtype] = {}
        self._held: dict[int, tuple[KVCodes, KVCodes]] = {}  # keys, values

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put the N tokens' keys (N, H_kv, D) and values (N, H_kv, D_v) into their slots (N,)."""
        new = quantize_kv(keys, self.bits, self.scale), quantize_kv(values, self.bits, self.scale)
        if layer not in self._held:
            num_slots = self.num_blocks * self.block_size
            self._held[layer] = _room(new[0], num_slots), _room(new[1], num_slots)
            self._dtypes[layer] = keys.dtype
        for held, written in zip(self._held[layer], new, strict=True):
            held.codes.index_copy_(0, slots, written.codes)
            held.grids.index_copy_(0, slots, written.grids)

    def read(self, layer: int, slots: Slots) -> KeysAndValues:
        """Return keys and values of the slots, in their order."""
        dtype = self._dtypes[layer]
        keys, values = (dequantize_kv(_rows(held, slots), self.bits, dtype) for held in self._held[layer])
        return KeysAndValues(keys, values)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of codes and grids that one token takes in all layers together; 0 before the first write."""
        num_slots = self.num_blocks * self.block_size
        tensors = [
            tensor for pair in self._held.values() for held in pair for tensor in (held.codes, held.grids)
        ]
        return sum(map(held_bytes, tensors)) // num_slots


def cache_for(shape: KVShape, num_blocks: int, block_size: int) -> KVCache:
    """Return a cache that holds keys and values as `shape` says."""
    if shape.kv_cache_dtype == "auto":
        return KVCache(num_blocks, block_size)
    return QuantizedKVCache(num_blocks, block_size, shape.kv_cache_dtype, shape.kv_cache_scale)


def _room(like: KVCodes, num_slots: int) -> KVCodes:
    return KVCodes(
        like.codes.new_empty(num_slots, *like.codes.shape[1:]),
        like.grids.new_empty(num_slots, *like.grids.shape[1:]),
    )


def _rows(held: KVCodes, slots: Slots) -> KVCodes:
    if isinstance(slots, slice):
        return KVCodes(held.codes[slots], held.grids[slots])
    return KVCodes(held.codes.index_select(0, slots), held.grids.index_select(0, slots))
