"""`RooflineSweep`: prefill and decode steps by their counted work, under the two limits of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from llmwidgets.records.device_card import DeviceCard
from llmwidgets.records.record import Record

Phase = Literal["prefill", "decode"]
_BYTES_PER_NUMBER = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


@dataclass(frozen=True, eq=False, repr=False)
class Ceilings(Record):
    """How fast a machine computes and how fast it reads (Williams et al. 2009, Roofline)."""

    name: str
    dtype: str
    """Of the numbers that it computes with, such as `"float32"`."""
    threads: int | None
    """How many computed; None for an accelerator."""
    flops_per_second: float
    bytes_per_second: float

    @property
    def ridge_point(self) -> float:
        """The FLOP/byte at which both limits meet: below it memory limits, above it arithmetic."""
        return self.flops_per_second / self.bytes_per_second

    def attainable(self, intensity: float) -> float:
        """Return the most FLOP/s at an operational intensity in FLOP/byte."""
        return min(self.flops_per_second, self.bytes_per_second * intensity)

    def seconds(self, flops: float, nbytes: float) -> float:
        """Return the least time in which the work can be done, computing while reading."""
        return max(flops / self.flops_per_second, nbytes / self.bytes_per_second)


@dataclass(frozen=True, slots=True, repr=False)
class RooflinePoint(Record):
    """One step of the engine: its work by count, and the time it took."""

    phase: Phase
    batch_size: int
    """Sequences in the step."""
    num_tokens: int
    """Tokens that it computes, of all sequences together."""
    context: int
    """Tokens of each sequence that were in the cache before."""
    linear_flops: int
    """Of products with weights."""
    attention_flops: int
    """Of queries with keys and of weights with values, as eager attention computes them: masked ones too."""
    weight_bytes: int
    """Of parameters, each read once; of an embedding only the rows of the tokens."""
    kv_read_bytes: int
    kv_written_bytes: int
    seconds: float | None = None
    """What is compared with the prediction; None if nothing ran. On a CPU its time divided by the threads,
    which a busy machine disturbs least; on an accelerator what the clock showed."""
    cpu_seconds: float | None = None
    """Of all threads together."""
    wall_seconds: float | None = None
    """What the clock showed, other programs' turns included."""

    @property
    def flops(self) -> int:
        """A multiplication and an addition are two."""
        return self.linear_flops + self.attention_flops

    @property
    def nbytes(self) -> int:
        """Weights, keys and values; activations are left out, as they stay in caches."""
        return self.weight_bytes + self.kv_read_bytes + self.kv_written_bytes

    @property
    def intensity(self) -> float:
        """Operational intensity, in FLOP/byte."""
        return self.flops / self.nbytes

    @property
    def label(self) -> str:
        """A short name: `"B=8"` for a decode step of 8 sequences, `"T=256"` for a prefill of 256 tokens."""
        return f"B={self.batch_size}" if self.phase == "decode" else f"T={self.num_tokens}"


@dataclass(frozen=True, slots=True, repr=False)
class StepTimeFit(Record):
    """The line t(B) = base + per_sequence · B through the times of decode steps."""

    base: float
    """Seconds that a step takes however many sequences share it."""
    per_sequence: float
    """Seconds that each sequence adds."""
    largest_error: float
    """The largest distance of a time from the line, as a share of that time."""


@dataclass(frozen=True, eq=False, repr=False)
class RooflineSweep(Record):
    """Steps of one model under the limits of one machine."""

    default_view: ClassVar[str | None] = "llmwidgets.widgets.roofline:Roofline"

    model: str
    ceilings: Ceilings
    points: tuple[RooflinePoint, ...]
    parameter_bytes: int
    """Of all parameters together, each stored once."""

    @property
    def modelled(self) -> bool:
        """Whether nothing ran: the times are bounds only."""
        return all(point.seconds is None for point in self.points)

    def phase(self, phase: Phase) -> tuple[RooflinePoint, ...]:
        """Return the points of one phase."""
        return tuple(point for point in self.points if point.phase == phase)

    def predicted_seconds(self, point: RooflinePoint) -> float:
        """Return the least time for a point's work: max(FLOPs / peak, bytes / bandwidth)."""
        return self.ceilings.seconds(point.flops, point.nbytes)

    def share_of_bound(self, point: RooflinePoint) -> float | None:
        """Return predicted / measured seconds: 1 is on the roof; None if nothing was measured."""
        return None if point.seconds is None else self.predicted_seconds(point) / point.seconds

    def on(self, card: DeviceCard, dtype: str = "bfloat16") -> RooflineSweep:
        """Return the same steps on another device, with weights, cache and arithmetic in `dtype`.

        The points of what is returned have no times: nothing runs.

        Raises:
            ValueError: if the card has no figure for the dtype, or its memory cannot hold the largest step.
        """
        if dtype not in card.flops_per_second:
            known = ", ".join(map(repr, card.flops_per_second))
            raise ValueError(f"dtype={dtype!r} is not on the card of {card.name}; there are {known}")
        new, old = bytes_per_number(dtype), bytes_per_number(self.ceilings.dtype)
        points = tuple(
            replace(
                point,
                weight_bytes=point.weight_bytes * new // old,
                kv_read_bytes=point.kv_read_bytes * new // old,
                kv_written_bytes=point.kv_written_bytes * new // old,
                seconds=None,
                cpu_seconds=None,
                wall_seconds=None,
            )
            for point in self.points
        )
        held = self.parameter_bytes * new // old + max(point.kv_read_bytes for point in points)
        if held > card.memory_bytes:
            raise ValueError(
                f"{self.model} in {dtype} with the largest step's cache takes {held / 1e9:.1f} GB; "
                f"{card.name} holds {card.memory_bytes / 1e9:.0f} GB. Take fewer bits, fewer sequences or a "
                "larger device"
            )
        ceilings = Ceilings(card.name, dtype, None, card.flops_per_second[dtype], card.bytes_per_second)
        return RooflineSweep(self.model, ceilings, points, self.parameter_bytes * new // old)

    def fit_decode(self) -> StepTimeFit:
        """Return the line through the decode steps' measured times, or through the bounds if nothing ran.

        Raises:
            ValueError: with fewer than two batch sizes.
        """
        decode = self.phase("decode")
        seconds = [self.predicted_seconds(p) if p.seconds is None else p.seconds for p in decode]
        return fit_step_time([point.batch_size for point in decode], seconds)

    def to_text(self) -> str:
        """Return the ceilings, then one line a point."""
        top = self.ceilings
        lines = [
            f"{self.model} on {top.name}, {top.dtype}: {top.flops_per_second / 1e9:.3g} GFLOP/s, "
            f"{top.bytes_per_second / 1e9:.3g} GB/s, ridge at {top.ridge_point:.3g} FLOP/byte"
        ]
        for point in self.points:
            share = self.share_of_bound(point)
            reached = "not run" if share is None else f"{share:.0%} of the bound"
            lines.append(
                f"  {point.phase} {point.label}: {point.flops} FLOP, {point.nbytes} bytes, "
                f"{point.intensity:.3g} FLOP/byte, {reached}"
            )
        return "\n".join(lines)


def bytes_per_number(dtype: str) -> int:
    """Return the bytes of one number.

    Raises:
        ValueError: for an unknown dtype.
    """
    if dtype not in _BYTES_PER_NUMBER:
        known = ", ".join(map(repr, _BYTES_PER_NUMBER))
        raise ValueError(f"dtype={dtype!r} is not known; allowed are {known}")
    return _BYTES_PER_NUMBER[dtype]


def fit_step_time(batch_sizes: Sequence[int], seconds: Sequence[float]) -> StepTimeFit:
    """Return the least-squares line through the times of decode steps.

    Raises:
        ValueError: with fewer than two different batch sizes.
    """
    if len(set(batch_sizes)) < 2:
        raise ValueError(f"batch_sizes={list(batch_sizes)} is not allowed; a line needs two different ones")
    sizes, times = np.asarray(batch_sizes, np.float64), np.asarray(seconds, np.float64)
    slope, intercept = np.polyfit(sizes, times, 1)
    error = np.abs(intercept + slope * sizes - times) / times
    return StepTimeFit(float(intercept), float(slope), float(error.max()))
