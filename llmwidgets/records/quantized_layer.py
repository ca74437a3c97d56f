"""`QuantizedLayer`: the codes of one linear layer, what they stand for, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.record import Record
from llmwidgets.records.weight_group import WeightGroup
from llmwidgets.records.weight_histogram import Counts, Floats, WeightHistogram

Codes = NDArray[np.int8]
_INT8_STEP = np.float32(1 / 127)  # bitsandbytes multiplies by this and does not divide by 127


@dataclass(frozen=True, eq=False, repr=False)
class NestedScales(Record):
    """Scales that are quantized themselves (double quantization)."""

    codes: NDArray[np.uint8]
    """One for each scale, row by row, shape (S,)."""
    scales: Floats
    """One for each `block_size` codes."""
    levels: Floats
    """What each of the 256 codes stands for."""
    block_size: int
    offset: float
    """The mean, which was taken off all scales first."""

    def dequantize(self) -> Floats:
        """Return the scales, shape (S,)."""
        blocks = np.repeat(self.scales, self.block_size)[: len(self.codes)]
        return self.levels[self.codes] * blocks + np.float32(self.offset)


def dequantize(codes: Codes, scales: Floats, zero_points: Codes | None, scheme: QuantizationScheme) -> Floats:
    """Return what codes stand for, shape (N, K), as the layer itself computes it.

    Args:
        codes: shape (N, K).
        scales: shape (N, groups of a row).
        zero_points: of the same shape; None where code 0 stands for 0, or the levels are a codebook.
        scheme: how they were made.
    """
    rows, groups = scales.shape
    grouped = codes.reshape(rows, groups, -1)
    if scheme.method in ("nf4", "fp4"):
        values = scheme.levels[grouped] * scales[..., None]
    elif scheme.method == "int8":
        values = grouped.astype(np.float32) * scales[..., None] * _INT8_STEP
    else:
        steps = grouped.astype(np.float32)
        if zero_points is not None:
            steps -= zero_points[..., None].astype(np.float32)
        values = steps * scales[..., None]
    return values.reshape(codes.shape)


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedLayer(Record):
    """One linear layer of N rows (outputs) and K columns (inputs), after quantization."""

    name: str
    scheme: QuantizationScheme
    codes: Codes
    """Shape (N, K)."""
    scales: Floats
    """Shape (N, groups of a row); for `"nf4"`, `"fp4"` and `"int8"` the largest weight of the group."""
    zero_points: Codes | None
    """The code that stands for 0, by group; None where that is code 0, or where the levels are a codebook."""
    nested: NestedScales | None
    """How the scales are stored, with double quantization."""
    nbytes: int
    """Of packed codes, scales and zero points, as the layer holds them when it was made."""
    float_nbytes: int
    """Of the weights before."""
    before: WeightHistogram
    """The weights as they were, with the error of each bin."""
    after: Counts
    """What the layer computes with, over the same bins."""
    steps: WeightHistogram
    """What was rounded, in units of the scale: levels lie in the same places in all groups (`marks`)."""
    errors: WeightHistogram
    """What was added to the weights."""
    column_errors: Floats
    """Root mean square of the error by column, shape (K,)."""
    weight_error: float
    """Norm of all errors over the norm of the weights."""
    max_error: float
    """The largest error of a weight."""
    input_mean: Floats | None = None
    """Mean size of each input on the calibration text, shape (K,): AWQ's measure of a salient column."""
    input_max: Floats | None = None
    """Largest size of each input on the calibration text, shape (K,)."""
    output_error: float | None = None
    """Norm of what the layer's output is off over the norm of the output, on the calibration text."""
    rtn_output_error: float | None = None
    """The same by `"rtn"` with the same bits and groups, for `"gptq"` and `"awq"`."""
    alpha: float | None = None
    """AWQ's exponent: the scales are (mean size of the input) ** alpha; 0 leaves the weights as they are."""
    input_scales: Floats | None = None
    """What AWQ multiplied each column with, shape (K,), and the operation before is divided by."""
    output_scales: Floats | None = None
    """What each row was divided by for the layer behind it, shape (N,)."""
    notes: tuple[str, ...] = ()
    """What a reader should know, a sentence each."""
    weights: Floats | None = None
    """As they were, shape (N, K); None in the record of a whole model."""
    rounded: Floats | None = None
    """What was rounded, shape (N, K): the weights, after what the method did to them before; as `weights`."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not agree, and make the arrays read-only."""
        rows, columns = self.codes.shape
        if self.scales.shape != (rows, self.scheme.num_groups(columns)):
            raise ValueError("scales must have a number for each group of each row")
        by_column = (self.column_errors, self.input_mean, self.input_max, self.input_scales)
        if any(array is not None and array.shape != (columns,) for array in by_column):
            raise ValueError("what is given by column must have an entry for each")
        for array in (*by_column, self.codes, self.scales, self.zero_points, self.after, self.output_scales,
                      self.weights, self.rounded):  # fmt: skip
            if array is not None:
                array.flags.writeable = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (outputs) and columns (inputs)."""
        rows, columns = self.codes.shape
        return rows, columns

    @property
    def group_size(self) -> int:
        """Columns of a group."""
        return int(self.codes.shape[1] // self.scales.shape[1])

    @property
    def bits_per_weight(self) -> float:
        """Bits of codes, scales and zero points for each weight."""
        return 8 * self.nbytes / self.num_weights

    @property
    def num_weights(self) -> int:
        """Weights of the layer."""
        return int(self.codes.size)

    @property
    def marks(self) -> Floats:
        """Where the levels lie on the axis of `steps`, by code: the codes, or 16 levels from -1 to 1."""
        if self.scheme.method in ("nf4", "fp4"):
            return self.scheme.levels
        first = self.scheme.first_code
        return np.arange(first, first + len(self.scheme.levels), dtype=np.float32)

    @property
    def code_counts(self) -> Counts:
        """How many weights have each code, from the scheme's `first_code` on."""
        first = self.scheme.first_code
        return np.bincount(self.codes.reshape(-1).astype(np.int64) - first, minlength=len(self.scheme.levels))

    @property
    def dequantized(self) -> Floats:
        """What the codes stand for, shape (N, K)."""
        return dequantize(self.codes, self.scales, self.zero_points, self.scheme)

    @property
    def quantized(self) -> Floats:
        """What the layer computes with, shape (N, K): `dequantized`, AWQ's scales undone."""
        return undo_scales(self.dequantized, self.input_scales, self.output_scales)

    def salient(self, share: float = 0.01) -> NDArray[np.int64]:
        """Return the columns with the largest inputs on average, ascending; empty without calibration.

        Args:
            share: of the columns, above 0, at most 1; at least one column is returned.

        Raises:
            ValueError: for another share.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share={share!r} is not allowed; allowed is a number above 0, at most 1")
        if self.input_mean is None:
            return np.empty(0, np.int64)
        count = max(1, round(share * len(self.input_mean)))
        return np.sort(np.argsort(self.input_mean)[-count:])

    @property
    def outlier_columns(self) -> NDArray[np.int64]:
        """Columns with an input of at least the threshold on the calibration text: LLM.int8's in float."""
        if self.input_max is None or not self.scheme.threshold:
            return np.empty(0, np.int64)
        return np.flatnonzero(self.input_max >= self.scheme.threshold)

    def group(self, row: int, group: int) -> WeightGroup:
        """Follow the weights of one group from value to code and back.

        Args:
            row: from 0 to N - 1.
            group: which group of the row, from 0.

        Raises:
            ValueError: if there is no such group, or the record does not keep the weights.
        """
        rows, groups = self.scales.shape
        for name, number, count in (("row", row, rows), ("group", group, groups)):
            if isinstance(number, bool) or not 0 <= number < count:
                raise ValueError(f"{name}={number!r} is not there; allowed are 0 to {count - 1}")
        if self.weights is None or self.rounded is None:
            raise ValueError(
                f"this record keeps no weights of {self.name!r}; that of engine.quantize_layer does"
            )
        first = group * self.group_size
        columns = slice(first, first + self.group_size)
        scale = self.scales[row : row + 1, group : group + 1]
        zero = None if self.zero_points is None else self.zero_points[row : row + 1, group : group + 1]
        input_scales = None if self.input_scales is None else self.input_scales[columns]
        output_scales = None if self.output_scales is None else self.output_scales[row : row + 1]
        own = dequantize(self.codes[row : row + 1, columns], scale, zero, self.scheme)
        every = np.arange(len(self.scheme.levels), dtype=np.int16) + self.scheme.first_code
        return WeightGroup(
            layer=self.name,
            row=row,
            group=group,
            columns=(columns.start, columns.stop),
            scheme=self.scheme,
            weights=self.weights[row, columns],
            rounded=self.rounded[row, columns],
            scale=float(scale[0, 0]),
            zero_point=None if zero is None else int(zero[0, 0]),
            codes=self.codes[row, columns],
            levels=dequantize(every[None].astype(np.int8), scale, zero, self.scheme)[0],
            quantized=undo_scales(own, input_scales, output_scales)[0],
            input_scales=input_scales,
            output_scale=1.0 if output_scales is None else float(output_scales[0]),
        )

    def __repr__(self) -> str:
        """Return one line with shape, scheme and errors."""
        rows, columns = self.shape
        off = "" if self.output_error is None else f", output error {self.output_error:.3g}"
        return (
            f"QuantizedLayer({self.name!r}, {rows} × {columns}, {self.scheme.label}, {self.nbytes:,} bytes, "
            f"weight error {self.weight_error:.3g}{off})"
        )


def undo_scales(values: Floats, input_scales: Floats | None, output_scales: Floats | None) -> Floats:
    """Return weights of the model as it was from those of one that AWQ's scales were folded into.

    Args:
        values: shape (N, K).
        input_scales: of the columns, shape (K,).
        output_scales: of the rows, shape (N,).
    """
    if input_scales is not None:
        values = values / input_scales
    if output_scales is not None:
        values = values * output_scales[:, None]
    return values
