"""`quantize_linear`: one linear layer by any method, as a module that runs and as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llmwidgets.engine.quantization.awq import Rounding, output_error, search_clip
from llmwidgets.engine.quantization.calibration import Inputs
from llmwidgets.engine.quantization.gptq import Gptq, gptq
from llmwidgets.engine.quantization.linear import QuantizedLinear
from llmwidgets.engine.quantization.progress import Progress
from llmwidgets.engine.quantization.rtn import AffineCodes, rtn
from llmwidgets.records.describe_layer import CodedWeights, InputFacts, describe_layer
from llmwidgets.records.quantization_scheme import WHOLE_ROW, QuantizationScheme
from llmwidgets.records.quantized_layer import QuantizedLayer


@dataclass(frozen=True)
class Folded:
    """AWQ's scales around one layer."""

    alpha: float | None = None
    input_scales: Tensor | None = None  # (K,) what the columns were multiplied with
    output_scales: Tensor | None = None  # (N,) what the rows were divided by, for the layer behind

    def apply(self, W: Tensor) -> Tensor:
        """Return the scaled weights, shape (N, K)."""
        if self.input_scales is not None:
            W = W * self.input_scales
        return W if self.output_scales is None else W / self.output_scales[:, None]

    def undo(self, W: Tensor) -> Tensor:
        """Return the weights as they were, shape (N, K)."""
        if self.output_scales is not None:
            W = W * self.output_scales[:, None]
        return W if self.input_scales is None else W / self.input_scales


@dataclass(frozen=True)
class Made:
    """A quantized layer."""

    module: nn.Module
    record: QuantizedLayer


def quantize_linear(
    name: str,
    linear: nn.Linear,
    scheme: QuantizationScheme,
    inputs: Inputs | None = None,
    folded: Folded | None = None,
    keep_weights: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Quantize a linear layer, which stays as it is.

    Args:
        name: of the layer.
        linear: weights as the model has them.
        scheme: how; its group size divides the columns.
        inputs: what the calibration found; `"gptq"` and `"awq"` need it.
        folded: AWQ's scales around the layer.
        keep_weights: whether the record keeps the weights.
        progress: told while GPTQ goes through the columns.

    Raises:
        Stopped: if `progress` returns False.
    """
    dtype = linear.weight.dtype
    W = linear.weight.detach().float()
    folded = folded or Folded()
    notes: tuple[str, ...] = ()
    bias = None if linear.bias is None else linear.bias.detach()
    if bias is not None and folded.output_scales is not None:
        bias = (bias / folded.output_scales).to(dtype)
    module: nn.Module
    if scheme.has_codebook:
        # Imported here, as it takes seconds that no other method needs.
        from llmwidgets.engine.quantization import bnb

        rounded = bnb.clipped(W, scheme)
        if scheme.method == "int8":
            module = bnb.int8_linear(rounded, bias, scheme.threshold)
            rounded = rounded.to(torch.float16).float()
            coded = bnb.read_int8(module)
        else:
            module = bnb.linear_4bit(rounded.to(dtype), bias, scheme)
            coded = bnb.read_4bit(module.state_dict())
        nbytes = bnb.nbytes(module)
    else:
        affine, rounded, notes = _affine(W, scheme, inputs, folded, progress)
        module = QuantizedLinear(affine, scheme.bits, bias, dtype)
        coded = _read(module, folded)
        nbytes = module.nbytes
    module.eval()
    weights = _numpy(W)
    record = describe_layer(
        name,
        scheme,
        weights,
        weights if rounded is W else _numpy(rounded),
        coded,
        nbytes,
        linear.weight.nbytes,
        None if inputs is None else _input_facts(W, module, scheme, inputs, folded, coded),
        folded.alpha,
        notes,
        keep_weights,
    )
    return Made(module, record)


def _affine(
    W: Tensor, scheme: QuantizationScheme, inputs: Inputs | None, folded: Folded, progress: Progress | None
) -> tuple[AffineCodes, Tensor, tuple[str, ...]]:
    """Return codes on a grid, what was rounded, and what is to be said about it."""
    size = W.shape[1] if scheme.group_size == WHOLE_ROW else scheme.group_size
    if scheme.method == "rtn":
        return rtn(W, scheme.bits, size, scheme.symmetric, scheme.clip), W, ()
    if inputs is None:
        raise ValueError(f"{scheme.method!r} needs the inputs of the layer: calibrate the model first")
    if scheme.method == "gptq":
        made = gptq(
            W, inputs.H, scheme.bits, size, scheme.symmetric, scheme.act_order, scheme.clip, progress=progress
        )
        return made.coded, made.rounded, _said(made, inputs)
    scaled = folded.apply(W)
    s = 1 if folded.input_scales is None else folded.input_scales
    H = inputs.H / (s * s[:, None]) if isinstance(s, Tensor) else inputs.H  # the inputs are divided by s
    return search_clip(scaled, H, Rounding(scheme.bits, size, scheme.symmetric)), scaled, ()


def _said(made: Gptq, inputs: Inputs) -> tuple[str, ...]:
    if not made.factor.is_singular:
        return ()
    columns = len(inputs.H)
    unused = int((inputs.H.diagonal() == 0).sum())
    why = f"{inputs.num_tokens} tokens for {columns} inputs"
    why += f", {unused} of them always 0" if unused else ""
    return (f"The Hessian has no inverse ({why}); its diagonal was damped by {made.factor.damping:.0%}.",)


def _read(module: QuantizedLinear, folded: Folded) -> CodedWeights:
    """Return what a layer holds, unpacked from its own words."""
    grid = module.grid
    return CodedWeights(
        _numpy(module.codes),
        _numpy(grid.scales.float()),
        None if grid.zero_points is None else _numpy(grid.zero_points),
        None,
        None if folded.input_scales is None else _numpy(folded.input_scales),
        None if folded.output_scales is None else _numpy(folded.output_scales),
    )


def _input_facts(
    W: Tensor,
    module: nn.Module,
    scheme: QuantizationScheme,
    inputs: Inputs,
    folded: Folded,
    coded: CodedWeights,
) -> InputFacts:
    """Return how far the layer's output is off on the calibration text.

    That of LLM.int8 is measured on some of the inputs, since it rounds them too; else it follows from H.
    """
    size = output_error(W, inputs.H)
    if scheme.method == "int8":
        x = inputs.sample.to(W.dtype)
        expected = x @ W.T
        with torch.inference_mode():
            found = module(x) if module.bias is None else module(x) - module.bias
        off = float((found - expected).norm() / expected.norm())
        return InputFacts(_numpy(inputs.mean), _numpy(inputs.max), off)
    if isinstance(module, QuantizedLinear):
        held = folded.undo(module.weight.float())
    else:
        from llmwidgets.records.quantized_layer import dequantize

        held = torch.from_numpy(dequantize(coded.codes, coded.scales, None, scheme)).to(W.device)
    off = float((output_error(W - held, inputs.H) / size).sqrt())
    by_rtn = None
    if scheme.is_calibrated:
        group = W.shape[1] if scheme.group_size == WHOLE_ROW else scheme.group_size
        plain = rtn(W, scheme.bits, group, scheme.symmetric, scheme.clip).dequantize()
        by_rtn = float((output_error(W - plain, inputs.H) / size).sqrt())
    return InputFacts(_numpy(inputs.mean), _numpy(inputs.max), off, by_rtn)


def _numpy(tensor: Tensor) -> NDArray[Any]:
    """Return numbers that share no memory with `tensor`."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
