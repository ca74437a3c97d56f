"""What `Roofline` draws: roofs with the steps under each, from a sweep or from a caller's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from llmwidgets.records.device_card import DEVICE_CARDS, DeviceCard
from llmwidgets.records.roofline import RooflinePoint, RooflineSweep

MOST_POINTS = 200


@dataclass(frozen=True)
class DrawnStep:
    """One mark: where it lies, and what is said of it."""

    label: str
    """Beside the mark, short."""
    name: str
    """In the sentence."""
    phase: str
    """"prefill" or "decode", or "" if that is not known."""
    intensity: float
    """FLOP/byte."""
    flops_per_second: float | None
    """What was reached; None if nothing ran."""
    flops: int | None = None
    nbytes: int | None = None
    seconds: float | None = None
    wall_seconds: float | None = None


@dataclass(frozen=True)
class DrawnRoof:
    """A machine's two limits and the steps under them."""

    name: str
    dtype: str
    threads: int | None
    flops_per_second: float
    bytes_per_second: float
    source: str
    """The document of the limits; "" if they were measured or given."""
    steps: tuple[DrawnStep, ...]


@dataclass(frozen=True)
class DrawnRoofline:
    """The roof of the record, then those of other devices to ask about."""

    title: str
    detail: str
    """What the steps have in common, such as their context; "" if that is not known."""
    badge: str
    """Of the first roof; all others are modelled."""
    roofs: tuple[DrawnRoof, ...]

    def roof(self, device: str) -> DrawnRoof:
        """Return the roof of a device; "" is the record's own."""
        return self.roofs[0] if not device else next(roof for roof in self.roofs[1:] if roof.name == device)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the other devices."""
        return tuple(roof.name for roof in self.roofs[1:])

    def wire(self) -> dict[str, Any]:
        """Return what the front end reads."""
        return {
            "title": self.title,
            "detail": self.detail,
            "badge": self.badge,
            "roofs": [asdict(roof) for roof in self.roofs],
        }


def sweep_roofline(sweep: RooflineSweep) -> DrawnRoofline:
    """Return a sweep under its own roof, and as it would lie under each device that can hold it."""
    others = []
    for card in DEVICE_CARDS:
        try:
            others.append(_roof(sweep.on(card), card))
        except ValueError:  # its memory is too small; `Roofline.device` says so when asked for it
            continue
    badge = "MODELLED" if sweep.modelled else "MEASURED"
    contexts = sorted({point.context for point in sweep.phase("decode")})
    detail = f"context {', '.join(map(str, contexts))}" if contexts else ""
    return DrawnRoofline(sweep.model, detail, badge, (_roof(sweep), *others))


def _roof(sweep: RooflineSweep, card: DeviceCard | None = None) -> DrawnRoof:
    top = sweep.ceilings
    return DrawnRoof(
        name=top.name,
        dtype=top.dtype,
        threads=top.threads,
        flops_per_second=top.flops_per_second,
        bytes_per_second=top.bytes_per_second,
        source="" if card is None else f"{card.source} ({card.checked})",
        steps=tuple(_step(point) for point in sweep.points),
    )


def _step(point: RooflinePoint) -> DrawnStep:
    if point.phase == "decode":
        alone = point.batch_size == 1
        sequences = "1 sequence" if alone else f"{point.batch_size} sequences"
        where = "its cache" if alone else "the cache of each"
        name = f"Decode of {sequences}, {point.context} tokens in {where}"
    else:
        name = f"Prefill of {point.num_tokens} tokens"
    return DrawnStep(
        label=point.label,
        name=name,
        phase=point.phase,
        intensity=point.intensity,
        flops_per_second=None if point.seconds is None else point.flops / point.seconds,
        flops=point.flops,
        nbytes=point.nbytes,
        seconds=point.seconds,
        wall_seconds=point.wall_seconds,
    )


def given_roofline(
    intensity: ArrayLike,
    flops_per_second: ArrayLike,
    peak: float,
    bandwidth: float,
    labels: Sequence[str] | None,
    name: str,
) -> DrawnRoofline:
    """Check a caller's arrays and return them under one roof.

    Raises:
        ValueError: for numbers that are not above zero, or lengths that do not match.
    """
    at = _positive("intensity", intensity)
    reached = _positive("flops_per_second", flops_per_second)
    _positive("peak", [peak])
    _positive("bandwidth", [bandwidth])
    if len(reached) != len(at):
        raise ValueError(f"flops_per_second has {len(reached)} entries, but intensity has {len(at)}")
    if len(at) > MOST_POINTS:
        raise ValueError(f"intensity has {len(at)} entries; allowed are at most {MOST_POINTS}")
    texts = [str(i) for i in range(len(at))] if labels is None else [str(label) for label in labels]
    if len(texts) != len(at):
        raise ValueError(f"labels has {len(texts)} entries, but intensity has {len(at)}")
    steps = tuple(
        DrawnStep(text, text, "", float(x), float(y)) for text, x, y in zip(texts, at, reached, strict=True)
    )
    roof = DrawnRoof(name, "", None, float(peak), float(bandwidth), "", steps)
    return DrawnRoofline("", "", "GIVEN", (roof,))


def _positive(name: str, values: ArrayLike) -> list[float]:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"{name} has the shape {numbers.shape}; allowed is a list of numbers")
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        raise ValueError(f"{name} holds numbers that are not above zero: a logarithmic axis cannot show them")
    return [float(number) for number in numbers]
