"""`WeightGroup`: the weights that share one scale, followed from value to code and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.record import Record

Floats = NDArray[np.float32]
_SHOWN = 8  # weights in `to_text`


@dataclass(frozen=True, eq=False, repr=False)
class GroupStep(Record):
    """One step of the way from a weight to its code and back."""

    name: str
    """Such as `"scale"` or `"code"`."""
    formula: str
    """How it follows from the steps before."""
    values: Floats
    """One number a weight, or a single one for all."""


@dataclass(frozen=True, eq=False, repr=False)
class WeightGroup(Record):
    """One group of one row of a layer."""

    layer: str
    row: int
    group: int
    """Which group of the row, from 0."""
    columns: tuple[int, int]
    """The first column, and one past the last."""
    scheme: QuantizationScheme
    weights: Floats
    """As they were, shape (g,)."""
    rounded: Floats
    """What was rounded: the weights, after what the method did to them before; shape (g,)."""
    scale: float
    zero_point: int | None
    """The code that stands for 0; None where that is code 0, or where the levels are a codebook."""
    codes: NDArray[np.int8]
    """Shape (g,)."""
    levels: Floats
    """What each code stands for, times the scale, from the scheme's `first_code` on."""
    quantized: Floats
    """What the layer computes with, shape (g,); with AWQ after its input scales are undone."""
    input_scales: Floats | None = None
    """AWQ's s of each column, shape (g,)."""
    output_scale: float = 1.0
    """What the row was divided by, where AWQ folded the scales of the next layer into this one."""

    @property
    def errors(self) -> Floats:
        """What quantization added to each weight, shape (g,)."""
        return self.quantized - self.weights

    @property
    def steps(self) -> tuple[GroupStep, ...]:
        """The way of each weight: value, what is rounded, scale, code, level, error."""
        steps = [GroupStep("value", "w", self.weights)]
        if (before := self._before_rounding()) is not None:
            steps.append(GroupStep(*before, self.rounded))
        steps.append(GroupStep("scale", self._scale_formula(), np.array([self.scale], np.float32)))
        if self.zero_point is not None:
            zero = np.array([self.zero_point], np.float32)
            steps.append(GroupStep("zero point", "z = the code of the level 0", zero))
        steps.append(GroupStep("code", self._code_formula(), self.codes.astype(np.float32)))
        levels = self.levels[self.codes.astype(np.int64) - self.scheme.first_code]
        steps.append(GroupStep("level", self._level_formula(), levels))
        if self.input_scales is not None or self.output_scale != 1:
            steps.append(GroupStep("undone", "level / a, as the input is divided by a", self.quantized))
        steps.append(GroupStep("error", "what the layer computes with - w", self.errors))
        return tuple(steps)

    def to_text(self) -> str:
        """Return a line a step with its first weights."""
        first, stop = self.columns
        lines = [f"{self.layer}, row {self.row}, columns {first} to {stop - 1}: {self.scheme.label}"]
        for step in self.steps:
            numbers = "  ".join(f"{value:9.5g}" for value in step.values[:_SHOWN])
            more = "  ..." if len(step.values) > _SHOWN else ""
            lines.append(f"  {step.name:<10} {numbers}{more}   {step.formula}")
        return "\n".join(lines)

    def _before_rounding(self) -> tuple[str, str] | None:
        """Return name and formula of what was done to the weights first; None if nothing."""
        if self.scheme.method == "gptq":
            return "corrected", "w - what the errors of earlier columns ask of it"
        if self.input_scales is not None or self.output_scale != 1:
            return "scaled", "w · a, AWQ's scales of its column and its row"
        if self.scheme.method == "int8":
            return "float16", "w in float16, which bitsandbytes rounds to first"
        return None

    def _scale_formula(self) -> str:
        scheme = self.scheme
        clipped = "" if scheme.clip == 1 and scheme.method != "awq" else "clip · "
        if scheme.method in ("nf4", "fp4"):
            stored = ", itself in 8 bits" if scheme.double_quant else ""
            return f"s = {clipped}max|w|{stored}"
        if scheme.method == "int8":
            return f"s = {clipped}max|w| / 127"
        steps = 2**scheme.bits - 1
        if self.zero_point is None:
            return f"s = {clipped}max|w| / {steps / 2:g}"
        return f"s = {clipped}(max w - min w) / {steps}, 0 among them"

    def _code_formula(self) -> str:
        scheme = self.scheme
        if scheme.method in ("nf4", "fp4"):
            return f"which of 16 levels is nearest to w / s ({scheme.method})"
        low = scheme.first_code
        high = 127 if scheme.method == "int8" else -low - 1
        zero = "" if self.zero_point is None else " + z"
        return f"round(w / s{zero}), {low} to {high}"

    def _level_formula(self) -> str:
        if self.scheme.method in ("nf4", "fp4"):
            return "s · the level of the code"
        return "s · code" if self.zero_point is None else "s · (code - z)"
