"""`KVShape`: how large the keys and values of one token are, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from llmwidgets.records.record import Record

KVCacheDtype = Literal["auto", "int8", "int4"]
KVCacheScale = Literal["head", "token"]
_BITS = {"int8": 8, "int4": 4}
_GRID_BYTES = 8  # a step and a smallest number in float32


@dataclass(frozen=True, slots=True, repr=False)
class KVShape(Record):
    """What a KV cache holds of one token; each tuple has one entry a layer."""

    num_heads: tuple[int, ...]
    """Query heads; num_heads / num_kv_heads of them read the same key-value head (Ainslie et al. 2023)."""
    num_kv_heads: tuple[int, ...]
    key_size: tuple[int, ...]
    """Numbers of one key of one head."""
    value_size: tuple[int, ...]
    bytes_per_number: int
    """Of the model's own keys and values: 4 for float32, 2 for bfloat16."""
    kv_cache_dtype: KVCacheDtype = "auto"
    """How they are held: `"auto"` as they are, `"int8"` and `"int4"` as codes with grids beside them."""
    kv_cache_scale: KVCacheScale = "head"
    """What shares a grid where they are codes: one `"head"` of a token, or the whole `"token"`."""

    @property
    def num_layers(self) -> int:
        """Layers of the model."""
        return len(self.num_kv_heads)

    @property
    def key_bytes(self) -> tuple[int, ...]:
        """Bytes of one token's keys, by layer."""
        return tuple(map(self._bytes, self.num_kv_heads, self.key_size))

    @property
    def value_bytes(self) -> tuple[int, ...]:
        """Bytes of one token's values, by layer."""
        return tuple(map(self._bytes, self.num_kv_heads, self.value_size))

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return sum(self.key_bytes) + sum(self.value_bytes)

    @property
    def held_bytes_per_number(self) -> float:
        """Bytes that one number takes, its share of a grid included, by the keys of the first layer."""
        return self.key_bytes[0] / (self.num_kv_heads[0] * self.key_size[0])

    def held_as(self, kv_cache_dtype: KVCacheDtype, kv_cache_scale: KVCacheScale = "head") -> KVShape:
        """Return the same keys and values held in another way.

        Raises:
            ValueError: for an unknown way, or 4 bits where a head has an odd size.
        """
        for name, value, known in (
            ("kv_cache_dtype", kv_cache_dtype, get_args(KVCacheDtype)),
            ("kv_cache_scale", kv_cache_scale, get_args(KVCacheScale)),
        ):
            if value not in known:
                raise ValueError(
                    f"{name}={value!r} is not allowed; allowed are {', '.join(map(repr, known))}"
                )
        odd = [size for size in (*self.key_size, *self.value_size) if size % 2]
        if kv_cache_dtype == "int4" and odd:
            raise ValueError(
                f"kv_cache_dtype='int4' is not allowed for heads of size {odd[0]}, as two codes share a "
                "byte; allowed are even sizes"
            )
        return replace(self, kv_cache_dtype=kv_cache_dtype, kv_cache_scale=kv_cache_scale)

    def _bytes(self, heads: int, size: int) -> int:
        """Return the bytes of one token's keys, or values, in one layer."""
        if self.kv_cache_dtype == "auto":
            return heads * size * self.bytes_per_number
        grids = heads if self.kv_cache_scale == "head" else 1
        return heads * size * _BITS[self.kv_cache_dtype] // 8 + grids * _GRID_BYTES
