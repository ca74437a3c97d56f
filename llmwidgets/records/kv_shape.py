"""`KVShape`: how large the keys and values of one token are, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from llmwidgets.records.record import Record


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
    """4 for float32, 2 for bfloat16."""

    @property
    def num_layers(self) -> int:
        """Layers of the model."""
        return len(self.num_kv_heads)

    @property
    def key_bytes(self) -> tuple[int, ...]:
        """Bytes of one token's keys, by layer."""
        sizes = zip(self.num_kv_heads, self.key_size, strict=True)
        return tuple(heads * size * self.bytes_per_number for heads, size in sizes)

    @property
    def value_bytes(self) -> tuple[int, ...]:
        """Bytes of one token's values, by layer."""
        sizes = zip(self.num_kv_heads, self.value_size, strict=True)
        return tuple(heads * size * self.bytes_per_number for heads, size in sizes)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return sum(self.key_bytes) + sum(self.value_bytes)
