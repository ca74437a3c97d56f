"""LLM.int8, NF4 and FP4 by bitsandbytes: its layers, and what lies in them.

On a CPU with AVX512-BF16 a `Linear4bit` repacks its bytes and scales in place at its first forward in eval.
So codes are read before that; afterwards only `state_dict()` brings them back, and without double
quantization it leaves the scales rounded to bfloat16 and turned over. `read_4bit` reads both.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from bitsandbytes import functional as B  # noqa: N812  # short, as it is used all over
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from torch import Tensor, nn

from llmwidgets.engine.quantization.linear import held_bytes
from llmwidgets.records.describe_layer import CodedWeights
from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.quantized_layer import NestedScales

# It would say at each pass that inputs are cast to float16: an engine prints nothing.
logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def clipped(W: Tensor, scheme: QuantizationScheme) -> Tensor:
    """Return weights with what lies past the scheme's clipping moved to it, group by group; shape (N, K)."""
    if scheme.clip == 1:
        return W
    groups = W.reshape(len(W), scheme.num_groups(W.shape[1]), -1)
    reach = groups.abs().amax(dim=-1, keepdim=True) * scheme.clip
    return groups.clamp(-reach, reach).reshape(W.shape)


def int8_linear(W: Tensor, bias: Tensor | None, threshold: float) -> Linear8bitLt:
    """Return an LLM.int8 layer, in eval: weights in int8 by row, inputs in int8 by token.

    Args:
        W: weights, shape (N, K).
        bias: shape (N,), or None.
        threshold: columns in which an input is at least this large are computed in float; 0 for none.
    """
    rows, columns = W.shape
    layer = Linear8bitLt(
        columns, rows, bias=False, has_fp16_weights=False, threshold=threshold, device="meta"
    )
    codes, scales, _ = B.int8_vectorwise_quant(W.to(torch.float16))
    layer.weight = Int8Params(codes, requires_grad=False, has_fp16_weights=False, CB=codes, SCB=scales)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    layer.eval()
    return layer


def linear_4bit(W: Tensor, bias: Tensor | None, scheme: QuantizationScheme) -> Linear4bit:
    """Return an NF4 or FP4 layer, in eval, that has not run yet.

    Args:
        W: weights, shape (N, K), in the dtype that the layer computes in.
        bias: shape (N,), or None.
        scheme: `"nf4"` or `"fp4"`, with group size and double quantization.
    """
    rows, columns = W.shape
    blocksize = columns if scheme.group_size == -1 else scheme.group_size
    layer = Linear4bit(columns, rows, bias=False, compute_dtype=W.dtype, device="meta")
    packed, state = B.quantize_4bit(
        W, blocksize=blocksize, compress_statistics=scheme.double_quant, quant_type=scheme.method
    )
    layer.weight = Params4bit(
        packed,
        quant_state=state,
        blocksize=blocksize,
        compress_statistics=scheme.double_quant,
        quant_type=scheme.method,
        module=layer,
        bnb_quantized=True,
    )
    layer.quant_state = state
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    layer.eval()
    return layer


def read_int8(layer: Linear8bitLt) -> CodedWeights:
    """Return codes and scales of an LLM.int8 layer, before or after it ran."""
    state = layer.state
    codes = layer.weight.CB if state.CB is None else state.CB
    scales = layer.weight.SCB if state.SCB is None else state.SCB
    return CodedWeights(_numpy(codes), _numpy(scales.float())[:, None])


def read_4bit(tensors: dict[str, Tensor]) -> CodedWeights:
    """Return codes and scales of an NF4 or FP4 layer.

    Args:
        tensors: its `state_dict()`, taken before its first forward or after it.
    """
    own = {name.removeprefix("weight."): tensor for name, tensor in tensors.items() if name != "bias"}
    packed = own.pop("weight")
    absmax = own["absmax"]
    if absmax.ndim == 2:  # repacked and brought back: (groups of a row, N), in bfloat16
        own["absmax"] = absmax.T.reshape(-1).float()
    state = B.QuantState.from_dict(own, device=packed.device)
    rows, columns = state.shape
    nested = None
    if state.nested:
        nested = NestedScales(
            codes=_numpy(state.absmax),
            scales=_numpy(state.state2.absmax),
            levels=_numpy(state.state2.code),
            block_size=int(state.state2.blocksize),
            offset=float(state.offset),
        )
    scales = _numpy(state.absmax) if nested is None else nested.dequantize()
    return CodedWeights(unpack_nibbles(packed).reshape(rows, columns), scales.reshape(rows, -1), None, nested)


def unpack_nibbles(packed: Tensor) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Return the 4-bit codes that lie in bytes, the high half first."""
    held = _numpy(packed).reshape(-1)
    return np.stack([held >> 4, held & 15], axis=-1).reshape(-1).astype(np.int8)


def nbytes(layer: Linear4bit | Linear8bitLt) -> int:
    """Return the bytes of all tensors that a layer of bitsandbytes holds now, without its bias."""
    weight: Any = layer.weight
    if isinstance(layer, Linear8bitLt):
        held = [weight.data, weight.SCB if layer.state.SCB is None else layer.state.SCB]
    else:
        state = weight.quant_state
        held = [weight.data, state.absmax, state.code]
        if state.nested:
            held += [state.state2.absmax, state.state2.code, state.offset]
    return sum(held_bytes(tensor) for tensor in held)


def _numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return numbers that share no memory with `tensor`."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
