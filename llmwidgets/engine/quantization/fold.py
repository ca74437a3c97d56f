"""Scales of a layer's inputs, folded into the operation before it, so that the model computes the same.

Which operation that is, is found by running the model, and each fold is tried before it is used: the logits
must stay. So a tensor with other readers, such as a router, is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from llmwidgets.engine.forward import Forward
from llmwidgets.engine.quantization.targets import full_name, linear_layers, short_name

_PROBE = 9  # tokens of the trial
# Pairs in one parent module: the output of the first, times something, is the input of the second.
_PAIRS = (("up_proj", "down_proj"), ("v_proj", "o_proj"), ("v_proj", "out_proj"), ("fc1", "fc2"))


@dataclass(frozen=True)
class ScaleGroup:
    """Linear layers that read one tensor, and what makes it."""

    before: str
    """Name of the norm or the linear layer whose output they read, as it is or times something."""
    linears: tuple[str, ...]
    adds_one: bool = False
    """Whether the norm multiplies with 1 + weight (Gemma's does)."""


def scale_groups(forward: Forward, names: Sequence[str]) -> tuple[ScaleGroup, ...]:
    """Return the groups whose scales can be folded; under grouped queries the output projection is in none.

    Args:
        forward: over a model that no one else uses; it is as before afterwards.
        names: layers of which at least one is in each group.
    """
    model = forward.model
    tokens = [(3 + 7 * i) % model.get_input_embeddings().num_embeddings for i in range(_PROBE)]
    found = []
    for group in _candidates(forward, tokens):
        if set(group.linears) & set(names):
            for variant in (group, replace(group, adds_one=True)):
                if _is_kept(forward, variant, tokens):
                    found.append(variant)
                    break
    return tuple(found)


def fold(model: Any, group: ScaleGroup, s: Tensor) -> None:
    """Multiply the columns of a group with s, and divide what they read by s.

    The parameters are replaced and not changed, as another model may share them.

    Args:
        model: whose layers they are.
        group: from `scale_groups`.
        s: shape (K,), above 0.
    """
    before = model.get_submodule(full_name(model, group.before))
    if isinstance(before, nn.Linear):
        _replace(before, "weight", before.weight / s[:, None])
    elif group.adds_one:
        _replace(before, "weight", (1 + before.weight) / s - 1)
    else:
        _replace(before, "weight", before.weight / s)
    if getattr(before, "bias", None) is not None:
        _replace(before, "bias", before.bias / s)
    for name in group.linears:
        linear = model.get_submodule(full_name(model, name))
        _replace(linear, "weight", linear.weight * s)


def _replace(module: nn.Module, name: str, values: Tensor) -> None:
    old = getattr(module, name)
    setattr(module, name, nn.Parameter(values.detach().to(old.dtype), requires_grad=False))


def _candidates(forward: Forward, tokens: list[int]) -> list[ScaleGroup]:
    """Return groups that may be: layers that read a norm's output, and pairs known by their names."""
    model = forward.model
    linears = linear_layers(model)
    read: dict[int, list[str]] = {}
    made: dict[int, str] = {}
    alive: list[Tensor] = []  # so that no number of a tensor is given twice

    def reads(name: str) -> Any:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            alive.append(args[0])
            read.setdefault(id(args[0]), []).append(name)

        return before

    def makes(name: str) -> Any:
        def after(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                alive.append(output)
                made[id(output)] = name

        return after

    hooks = [linear.register_forward_pre_hook(reads(name)) for name, linear in linears.items()]
    hooks += [
        module.register_forward_hook(makes(short_name(model, name)))
        for name, module in model.named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 1
    ]
    try:
        forward.plain(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    groups = [ScaleGroup(made[tensor], tuple(names)) for tensor, names in read.items() if tensor in made]
    for name, linear in linears.items():
        parent, _, own = name.rpartition(".")
        for first, second in _PAIRS:
            before = f"{parent}.{first}" if parent else first
            if own == second and before in linears and linears[before].out_features == linear.in_features:
                groups.append(ScaleGroup(before, (name,)))
    return groups


def _is_kept(forward: Forward, group: ScaleGroup, tokens: list[int]) -> bool:
    """Whether the logits stay when a group is folded with scales from 0.5 to 2."""
    model = forward.model
    modules = [model.get_submodule(full_name(model, name)) for name in (group.before, *group.linears)]
    own = [
        (module, name, value) for module in modules for name, value in module.named_parameters(recurse=False)
    ]
    columns = modules[-1].in_features
    s = torch.linspace(-1, 1, columns, device=forward.device)[torch.arange(columns) * 7 % columns].exp2()
    plain = forward.plain(tokens)
    try:
        fold(model, group, s)
        folded = forward.plain(tokens)
    finally:
        for module, name, value in own:
            setattr(module, name, value)
    allowed = min(0.1, 1000 * torch.finfo(plain.dtype).eps) * plain.abs().max()
    return bool((folded - plain).abs().max() <= allowed)
