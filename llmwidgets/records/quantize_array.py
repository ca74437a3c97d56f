"""`quantize_array`: the methods that look at nothing but the weights, in numpy, for arrays of the user's own.

The engine runs the same methods in PyTorch and bitsandbytes; tests hold the two against each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmwidgets.records.describe_layer import CodedWeights, describe_layer
from llmwidgets.records.quantization import Quantization
from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.weight_histogram import Floats

_TINY = np.float32(1e-38)  # bitsandbytes' own guard against blocks of zeros


def quantize_array(
    w: ArrayLike, scheme: QuantizationScheme, name: str = "weights", keep_weights: bool = True
) -> Quantization:
    """Quantize one matrix.

    Args:
        w: shape (N, K), all finite; K inputs of N outputs.
        scheme: `"rtn"`, `"int8"`, `"nf4"` or `"fp4"`, without double quantization.
        name: what the record calls it.
        keep_weights: whether the record keeps the weights, so that groups can be followed.

    Raises:
        ValueError: for another shape, numbers that are not finite, a group size that does not divide the
            columns, or a scheme that needs more than the weights.
    """
    weights = np.array(w, np.float32)
    if weights.ndim != 2 or not weights.size:
        raise ValueError(f"w has shape {weights.shape}; allowed is a matrix (N, K) with at least one weight")
    if not np.isfinite(weights).all():
        raise ValueError("w holds NaN or infinity; allowed are finite weights")
    if scheme.is_calibrated or scheme.double_quant:
        raise ValueError(
            f"scheme {scheme.label!r} cannot run on an array alone; allowed are 'rtn', 'int8', 'nf4' and "
            "'fp4' without double quantization (engine.quantize_layer has them all)"
        )
    groups = weights.reshape(len(weights), scheme.num_groups(weights.shape[1]), -1)
    rounded = _clipped(groups, scheme) if scheme.has_codebook else groups
    if scheme.method == "int8":
        rounded = rounded.astype(np.float16).astype(np.float32)
        coded = _int8(rounded)
    elif scheme.has_codebook:
        coded = _nearest_level(rounded, scheme)
    else:
        coded = _round_to_nearest(rounded, scheme)
    layer = describe_layer(
        name,
        scheme,
        weights,
        rounded.reshape(weights.shape),
        coded,
        nbytes=_nbytes(coded, scheme),
        float_nbytes=weights.nbytes,
        keep_weights=keep_weights,
    )
    return Quantization("array", scheme, (layer,))


def _clipped(groups: Floats, scheme: QuantizationScheme) -> Floats:
    """Return groups (N, G, g) with what lies past the clipping moved to it."""
    if scheme.clip == 1:
        return groups
    reach = np.abs(groups).max(axis=-1, keepdims=True) * np.float32(scheme.clip)
    return np.clip(groups, -reach, reach)


def _round_to_nearest(groups: Floats, scheme: QuantizationScheme) -> CodedWeights:
    low, high = scheme.first_code, -scheme.first_code - 1
    steps = np.float32(2**scheme.bits - 1)
    clip = np.float32(scheme.clip)
    tiny = np.finfo(np.float32).eps
    if scheme.symmetric:
        scales = np.abs(groups).max(axis=-1) * clip / (steps / 2)
        zeros = None
        places = groups / np.where(scales == 0, tiny, scales)[..., None]
    else:
        least = np.minimum(groups.min(axis=-1), 0) * clip
        scales = (np.maximum(groups.max(axis=-1), 0) * clip - least) / steps
        scales = np.where(scales == 0, tiny, scales)
        zeros = np.clip(np.round(np.float32(low) - least / scales), low, high).astype(np.int8)
        places = groups / scales[..., None] + zeros[..., None]
    codes = np.clip(np.round(places), low, high).astype(np.int8)
    return CodedWeights(_flat(codes), np.where(scales == 0, tiny, scales), zeros)


def _int8(groups: Floats) -> CodedWeights:
    scales = np.abs(groups).max(axis=-1)
    per_step = np.float32(127) * (
        1 / np.where(scales == 0, 1, scales)
    )  # as PyTorch divides a number by a tensor
    return CodedWeights(_flat(np.round(groups * per_step[..., None]).astype(np.int8)), scales)


def _nearest_level(groups: Floats, scheme: QuantizationScheme) -> CodedWeights:
    scales = np.abs(groups).max(axis=-1)
    places = np.clip(groups * (1 / np.maximum(scales, _TINY))[..., None], -1, 1)
    levels = scheme.levels
    order = np.argsort(levels, kind="stable")
    bounds = (levels[order][1:] + levels[order][:-1]) / 2
    return CodedWeights(_flat(order[np.searchsorted(bounds, places)].astype(np.int8)), scales)


def _nbytes(coded: CodedWeights, scheme: QuantizationScheme) -> int:
    """Return the bytes of packed codes, scales, zero points and levels, as the engine's layers hold them."""
    rows, columns = coded.codes.shape
    if scheme.method == "int8":
        return int(coded.codes.nbytes + coded.scales.nbytes)
    if scheme.has_codebook:
        return int(rows * columns // 2 + coded.scales.nbytes + scheme.levels.nbytes)
    words = rows * -(-columns * scheme.bits // 32)
    if coded.zero_points is not None:
        words += coded.scales.shape[1] * -(-rows * scheme.bits // 32)
    return int(4 * words + coded.scales.nbytes)


def _flat(codes: NDArray[Any]) -> NDArray[Any]:
    return codes.reshape(len(codes), -1)
