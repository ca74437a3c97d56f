"""`DeviceCard`: what a vendor says that an accelerator can do, with the document that says it."""

from __future__ import annotations

from dataclasses import dataclass

from llmwidgets.records.record import Record


@dataclass(frozen=True, eq=False, repr=False)
class DeviceCard(Record):
    """The limits of one accelerator by its datasheet; nothing here was measured."""

    name: str
    flops_per_second: dict[str, float]
    """Peak of dense matrix products by dtype, such as `{"bfloat16": 989.4e12}`; without sparsity."""
    bytes_per_second: float
    """Peak bandwidth of its memory."""
    memory_bytes: int
    source: str
    """The document that the figures are from."""
    checked: str
    """Year and month in which they were last held against it, such as `"2026-11"`."""


# NVIDIA prints the figures of H100, H200 and L4 with sparsity; dense ones are half of them.
DEVICE_CARDS = (
    DeviceCard(
        name="NVIDIA H100 SXM",
        flops_per_second={"bfloat16": 989.4e12, "int8": 1978.9e12},
        bytes_per_second=3.35e12,
        memory_bytes=80 * 10**9,
        source="NVIDIA H100 Tensor Core GPU datasheet",
        checked="2026-11",
    ),
    DeviceCard(
        name="NVIDIA H200 SXM",
        flops_per_second={"bfloat16": 989.4e12, "int8": 1978.9e12},
        bytes_per_second=4.8e12,
        memory_bytes=141 * 10**9,
        source="NVIDIA H200 Tensor Core GPU datasheet",
        checked="2026-11",
    ),
    DeviceCard(
        name="NVIDIA A100 SXM 80 GB",
        flops_per_second={"bfloat16": 312e12, "int8": 624e12},
        bytes_per_second=2.039e12,
        memory_bytes=80 * 10**9,
        source="NVIDIA A100 Tensor Core GPU datasheet",
        checked="2026-11",
    ),
    DeviceCard(
        name="NVIDIA L4",
        flops_per_second={"bfloat16": 121e12, "int8": 242.5e12},
        bytes_per_second=300e9,
        memory_bytes=24 * 10**9,
        source="NVIDIA L4 Tensor Core GPU datasheet",
        checked="2026-11",
    ),
    DeviceCard(
        name="Google TPU v5e",
        flops_per_second={"bfloat16": 197e12, "int8": 393e12},
        bytes_per_second=819e9,
        memory_bytes=16 * 10**9,
        source="Cloud TPU documentation, v5e key chip specifications",
        checked="2026-11",
    ),
)
"""Accelerators to ask "what if" about."""


def device_card(name: str) -> DeviceCard:
    """Return the card of that name.

    Raises:
        ValueError: if there is none; it says which there are.
    """
    for card in DEVICE_CARDS:
        if card.name == name:
            return card
    known = ", ".join(repr(card.name) for card in DEVICE_CARDS)
    raise ValueError(f"there is no device card {name!r}; there are {known}")
