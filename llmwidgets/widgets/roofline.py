"""`Roofline`: steps by operational intensity, under the limits of the machine that ran them or of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets
from numpy.typing import ArrayLike

from llmwidgets.records.device_card import device_card
from llmwidgets.records.roofline import RooflineSweep
from llmwidgets.widgets.figure import RecordFigure
from llmwidgets.widgets.roofline_source import DrawnRoofline, given_roofline, sweep_roofline


class Roofline(RecordFigure):
    """Draws a `RooflineSweep`: FLOP/s against FLOP/byte, what was reached against what could be."""

    stem = "roofline"

    device = traitlets.Unicode("").tag(sync=True)
    """The device whose roof is drawn: "" for the record's own machine, or the name of a device card, whose
    bounds are modelled from its datasheet."""

    selected_point = traitlets.Int(None, allow_none=True).tag(sync=True)
    """The step that is pinned, counted from 0; None for none."""

    _roofline = traitlets.Dict().tag(sync=True)

    def __init__(self, record: RooflineSweep | DrawnRoofline, **traits: Any) -> None:
        self._record: RooflineSweep | DrawnRoofline = record
        self._drawn = _drawn(record)
        self._own_badge = traits.pop("badge", None)
        super().__init__(record, **traits)

    @classmethod
    def from_arrays(
        cls,
        intensity: ArrayLike,
        flops_per_second: ArrayLike,
        peak: float,
        bandwidth: float,
        *,
        labels: Sequence[str] | None = None,
        name: str = "your machine",
        **traits: Any,
    ) -> Roofline:
        """Draw your own measurements; needs no engine and no torch.

        Args:
            intensity: FLOP/byte of each point.
            flops_per_second: what each point reached.
            peak: FLOP/s at best.
            bandwidth: bytes/s at best.
            labels: a short text for each point; by default its number.
            name: of the machine.
            traits: `selected_point` and the other public traits.

        Raises:
            ValueError: for numbers that are not above zero, or lengths that do not match.
        """
        return cls(given_roofline(intensity, flops_per_second, peak, bandwidth, labels, name), **traits)

    @property
    def record(self) -> RooflineSweep | DrawnRoofline:
        """The record that is drawn; set it to draw another in the same place."""
        return self._record

    @record.setter
    def record(self, record: RooflineSweep | DrawnRoofline) -> None:
        drawn = _drawn(record)
        with self.hold_sync(), self.hold_trait_notifications():
            self._record, self._drawn = record, drawn
            if self.device not in ("", *drawn.devices):
                self.device = ""
            if self.selected_point is not None and self.selected_point >= len(drawn.roofs[0].steps):
                self.selected_point = None
            self._roofline = drawn.wire() | {"badge": self._own_badge or drawn.badge}
        self._set_badge()

    @traitlets.validate("device")
    def _known_device(self, proposal: dict[str, Any]) -> str:
        device = str(proposal["value"])
        if device in ("", *self._drawn.devices):
            return device
        if isinstance(self._record, RooflineSweep):
            self._record.on(device_card(device))  # raises, and says why not
        raise ValueError(f"device={device!r} is not there; given points lie under one roof, device=''")

    @traitlets.validate("selected_point")
    def _known_point(self, proposal: dict[str, Any]) -> int | None:
        point, count = proposal["value"], len(self._drawn.roofs[0].steps)
        if point is not None and not 0 <= point < count:
            raise ValueError(f"selected_point={point} is not in the record; allowed: None, 0 to {count - 1}")
        return None if point is None else int(point)

    @traitlets.observe("device")
    def _set_badge(self, _change: object = None) -> None:
        """Say MODELLED as long as another device is shown."""
        self.badge = "MODELLED" if self.device else self._own_badge or self._drawn.badge

    def to_text(self) -> str:
        """Return the limits, then one line a step."""
        roof = self._drawn.roof(self.device)
        ridge = roof.flops_per_second / roof.bytes_per_second
        lines = [
            f"Roofline of {self._drawn.title or 'given points'} on {roof.name} {roof.dtype}".rstrip(),
            f"  computes {_quantity(roof.flops_per_second, 'FLOP/s')}, "
            f"reads {_quantity(roof.bytes_per_second, 'B/s')}, "
            f"ridge at {ridge:.3g} FLOP/byte ({self.badge.lower()})",
        ]
        for step in roof.steps:
            bound = min(roof.flops_per_second, roof.bytes_per_second * step.intensity)
            limit = "memory" if step.intensity < ridge else "arithmetic"
            rate = step.flops_per_second
            reached = "not run" if rate is None else f"{rate / bound:.0%} of it"
            lines.append(
                f"  {step.name}: {step.intensity:.3g} FLOP/byte, bound by {limit} at "
                f"{_quantity(bound, 'FLOP/s')}, {reached}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Roofline(device={self.device!r}, points={len(self._drawn.roofs[0].steps)})"


def _quantity(value: float, unit: str) -> str:
    """Return a number with three digits, its SI prefix and unit, such as `88.5 GFLOP/s`."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 999.5 or prefix == "T":
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}"


def _drawn(record: RooflineSweep | DrawnRoofline) -> DrawnRoofline:
    return record if isinstance(record, DrawnRoofline) else sweep_roofline(record)
