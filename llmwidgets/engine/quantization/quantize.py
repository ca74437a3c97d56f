"""`quantize`: another engine whose linear layers hold codes; the one it is made of stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from llmwidgets.engine.prompt import Prompt
from llmwidgets.engine.quantization.awq import Rounding, search_scales
from llmwidgets.engine.quantization.calibration import NUM_TOKENS, Calibration, calibrate
from llmwidgets.engine.quantization.fold import ScaleGroup, fold, scale_groups
from llmwidgets.engine.quantization.one_layer import Folded, Made, quantize_linear
from llmwidgets.engine.quantization.progress import Progress, part, report
from llmwidgets.engine.quantization.quantized_engine import QuantizedEngine
from llmwidgets.engine.quantization.targets import check_weights, choose_layers, full_name, linear_layers
from llmwidgets.records.quantization import Quantization
from llmwidgets.records.quantization_scheme import WHOLE_ROW, QuantizationScheme

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

LAYER_TOKENS = 2048  # of the calibration of a single layer
_CALIBRATION = 0.4  # about its share of the time


def quantize(
    engine: Engine,
    scheme: QuantizationScheme,
    calibration: Prompt | Calibration | None,
    layers: str | Sequence[str] | None,
    progress: Progress | None,
) -> QuantizedEngine:
    """See `Engine.quantize`."""
    _refuse_quantized(engine)
    known = linear_layers(engine.model)
    names = choose_layers(known, layers)
    for name in names:
        check_weights(name, known[name], scheme)
    calibrated = _calibrated(engine, scheme, calibration, names, NUM_TOKENS, part(progress, 0, _CALIBRATION))
    start = 0.0 if calibrated is None else _CALIBRATION
    model = _copy(engine.model)
    records = []
    with torch.no_grad():
        folds = {}
        if scheme.method == "awq" and calibrated is not None:
            halfway = (start + 1) / 2
            folds = _fold_all(engine, model, names, scheme, calibrated, part(progress, start, halfway))
            start = halfway
        for number, name in enumerate(names):
            share = start + (1 - start) * number / len(names)
            report(progress, share, f"{scheme.method}: {name}, layer {number + 1} of {len(names)}")
            inner = part(progress, share, start + (1 - start) * (number + 1) / len(names))
            made = _make(known[name], name, scheme, calibrated, folds, False, inner)
            model.set_submodule(full_name(model, name), made.module)
            records.append(made.record)
    report(progress, 1.0, "done")
    held = {parameter.data_ptr(): parameter.nbytes for parameter in _other_parameters(model, names)}
    tokens = 0 if calibrated is None else calibrated.num_tokens
    record = Quantization(engine.name, scheme, tuple(records), tokens, sum(held.values()))
    return QuantizedEngine(engine, model, record)


def quantize_layer(
    engine: Engine,
    name: str,
    scheme: QuantizationScheme,
    calibration: Prompt | Calibration | None,
    progress: Progress | None,
) -> Quantization:
    """See `Engine.quantize_layer`."""
    _refuse_quantized(engine)
    known = linear_layers(engine.model)
    if name not in known:
        choose_layers(known, name, "name")  # says which are nearest
        raise ValueError(f"name={name!r} is a pattern; allowed is the name of one layer")
    check_weights(name, known[name], scheme)
    forward = type(engine.forward)(_copy(engine.model)) if scheme.method == "awq" else None
    group = None if forward is None else _group_of(scale_groups(forward, [name]), name)
    seen = (name,) if group is None else group.linears
    calibrated = _calibrated(engine, scheme, calibration, seen, LAYER_TOKENS, part(progress, 0, 0.5))
    with torch.no_grad():
        folds = {}
        if group is not None and calibrated is not None:
            folds[name] = _search(engine, group, scheme, calibrated, part(progress, 0.5, 0.9))
        made = _make(known[name], name, scheme, calibrated, folds, True, part(progress, 0.5, 1))
    tokens = 0 if calibrated is None else calibrated.of(name).num_tokens
    return Quantization(engine.name, scheme, (made.record,), tokens)


def _refuse_quantized(engine: Engine) -> None:
    if isinstance(engine, QuantizedEngine):
        raise ValueError(
            f"{engine.name} is quantized already; allowed are engines in float, as the one it was made of"
        )


def _calibrated(
    engine: Engine,
    scheme: QuantizationScheme,
    calibration: Prompt | Calibration | None,
    names: Sequence[str],
    num_tokens: int,
    progress: Progress | None,
) -> Calibration | None:
    """Return the calibration that was given, or one on the text that was given; None if none is needed."""
    if isinstance(calibration, Calibration):
        if calibration.model is not engine.model:
            raise ValueError("calibration is of another model; make it with this engine")
        for name in names:
            calibration.of(name)
        return calibration
    if calibration is None and not scheme.is_calibrated:
        return None
    return calibrate(engine, calibration, names, num_tokens, progress)


def _make(
    linear: Any,
    name: str,
    scheme: QuantizationScheme,
    calibrated: Calibration | None,
    folds: dict[str, Folded],
    keep_weights: bool,
    progress: Progress | None,
) -> Made:
    inputs = None if calibrated is None else calibrated.of(name)
    return quantize_linear(name, linear, scheme, inputs, folds.get(name), keep_weights, progress)


def _fold_all(
    engine: Engine,
    model: Any,
    names: Sequence[str],
    scheme: QuantizationScheme,
    calibrated: Calibration,
    progress: Progress | None,
) -> dict[str, Folded]:
    """Search AWQ's scales of all groups, and fold them into the model around the layers.

    Returns:
        The scales around each layer.
    """
    groups = scale_groups(type(engine.forward)(model), names)
    folds: dict[str, Folded] = {}
    for number, group in enumerate(groups):
        inner = part(progress, number / len(groups), (number + 1) / len(groups))
        report(inner, 0, f"awq: scales behind {group.before}")
        found = _search(engine, group, scheme, calibrated, inner)
        if found.input_scales is None:
            continue
        fold(model, group, found.input_scales)
        for name in group.linears:
            before = folds.get(name, Folded())
            folds[name] = Folded(found.alpha, found.input_scales, before.output_scales)
        behind = folds.get(group.before, Folded())
        folds[group.before] = Folded(behind.alpha, behind.input_scales, found.input_scales)
    return folds


def _search(
    engine: Engine,
    group: ScaleGroup,
    scheme: QuantizationScheme,
    calibrated: Calibration,
    progress: Progress | None,
) -> Folded:
    """Return the scales of what the layers of a group read."""
    known = linear_layers(engine.model)
    seen = [name for name in group.linears if name in calibrated.inputs]
    inputs = calibrated.of(seen[0])
    columns = len(inputs.mean)
    size = columns if scheme.group_size == WHOLE_ROW else scheme.group_size
    Ws = [known[name].weight.detach().float() for name in seen]
    rounding = Rounding(scheme.bits, size, scheme.symmetric)
    found = search_scales(Ws, inputs.H, inputs.mean, rounding, progress=progress)
    return Folded(found.alpha, found.s)


def _group_of(groups: Sequence[ScaleGroup], name: str) -> ScaleGroup | None:
    return next((group for group in groups if name in group.linears), None)


def _copy(model: Any) -> Any:
    """Return a model with modules of its own and the same parameters."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in model.parameters()})


def _other_parameters(model: Any, names: Sequence[str]) -> list[torch.Tensor]:
    """Return the parameters of all modules but the quantized ones."""
    quantized = {full_name(model, name) for name in names}
    return [
        parameter
        for name, module in model.named_modules()
        if name not in quantized
        for parameter in module.parameters(recurse=False)
    ]
