"""`describe_layer`: from codes and the weights they came from to a `QuantizedLayer`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.quantized_layer import Codes, NestedScales, QuantizedLayer, dequantize, undo_scales
from llmwidgets.records.weight_histogram import Floats, WeightHistogram, weight_histogram

BINS = 160  # of the histograms over weights and over errors
_FINE = 32  # levels up to which a step has eight bins
_CODEBOOK_REACH = 1.125  # the axis of a codebook of levels from -1 to 1


@dataclass(frozen=True)
class CodedWeights:
    """Codes of one matrix with all that turns them back into weights."""

    codes: Codes  # (N, K)
    scales: Floats  # (N, G)
    zero_points: Codes | None = None  # (N, G)
    nested: NestedScales | None = None
    input_scales: Floats | None = None  # (K,)
    output_scales: Floats | None = None  # (N,)


@dataclass(frozen=True)
class InputFacts:
    """What is known of a layer's inputs and outputs on the calibration text."""

    mean: Floats  # (K,)
    max: Floats  # (K,)
    output_error: float
    rtn_output_error: float | None = None


def describe_layer(
    name: str,
    scheme: QuantizationScheme,
    weights: Floats,
    rounded: Floats,
    coded: CodedWeights,
    nbytes: int,
    float_nbytes: int,
    inputs: InputFacts | None = None,
    alpha: float | None = None,
    notes: tuple[str, ...] = (),
    keep_weights: bool = False,
) -> QuantizedLayer:
    """Count where weights, levels and errors lie.

    Args:
        name: of the layer.
        scheme: how it was quantized.
        weights: as they were, shape (N, K).
        rounded: what was rounded, shape (N, K); often the same array.
        coded: what was made of them.
        nbytes: of what the layer holds.
        float_nbytes: of the weights before.
        inputs: what the calibration found, if there was one.
        alpha: AWQ's exponent.
        notes: sentences for the reader.
        keep_weights: whether the record keeps both matrices.
    """
    held = dequantize(coded.codes, coded.scales, coded.zero_points, scheme)
    quantized = undo_scales(held, coded.input_scales, coded.output_scales)
    errors = quantized - weights
    reach = _reach(weights)
    before = weight_histogram(weights, -reach, reach, BINS, errors)
    off = _reach(errors)
    squares = np.square(errors).mean(axis=0, dtype=np.float64)  # by column
    size = float(np.linalg.norm(weights))
    return QuantizedLayer(
        name=name,
        scheme=scheme,
        codes=coded.codes,
        scales=coded.scales,
        zero_points=coded.zero_points,
        nested=coded.nested,
        nbytes=nbytes,
        float_nbytes=float_nbytes,
        before=before,
        after=weight_histogram(quantized, -reach, reach, BINS).counts,
        steps=_steps(scheme, rounded, coded),
        errors=weight_histogram(errors, -off, off, BINS),
        column_errors=np.sqrt(squares).astype(np.float32),
        weight_error=float(np.sqrt(squares.sum() * len(weights))) / size if size else 0.0,
        max_error=off if errors.any() else 0.0,
        input_mean=None if inputs is None else inputs.mean,
        input_max=None if inputs is None else inputs.max,
        output_error=None if inputs is None else inputs.output_error,
        rtn_output_error=None if inputs is None else inputs.rtn_output_error,
        alpha=alpha,
        input_scales=coded.input_scales,
        output_scales=coded.output_scales,
        notes=notes,
        weights=weights if keep_weights else None,
        rounded=rounded if keep_weights else None,
    )


def _steps(scheme: QuantizationScheme, rounded: Floats, coded: CodedWeights) -> WeightHistogram:
    """Return where the rounded numbers lie between the levels, with the levels of all groups in one place."""
    rows, groups = coded.scales.shape
    unit = coded.scales * np.float32(1 / 127) if scheme.method == "int8" else coded.scales
    per_step = 1 / np.where(unit == 0, 1, unit)  # a group of zeros has no step
    places = rounded.reshape(rows, groups, -1) * per_step[..., None]
    if coded.zero_points is not None:
        places += coded.zero_points[..., None]
    if scheme.method in ("nf4", "fp4"):
        return weight_histogram(places, -_CODEBOOK_REACH, _CODEBOOK_REACH, BINS)
    levels = len(scheme.levels)
    low = scheme.first_code - 1.5  # halves, where codes change, are bounds of bins
    bins = (levels + 2) * (8 if levels <= _FINE else 1)
    return weight_histogram(places, low, low + levels + 2, bins)


def _reach(numbers: Floats) -> float:
    """Return a bound that all numbers lie within, above 0."""
    return float(max(numbers.max(), -numbers.min(), 0)) or 1.0
