"""Tiny engines, and what goes into each of their layers, looked at by the tests' own hooks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from llmwidgets.engine import Engine
from tests.families import build_model

TOKENS = [(7 + 31 * i + i * i) % 256 for i in range(256)]


@pytest.fixture(scope="session")
def mha_engine() -> Engine:
    """As many key-value heads as query heads, so that the output projection can be scaled too."""
    return Engine(build_model("llama", num_key_value_heads=4))


@pytest.fixture(scope="session")
def target() -> Engine:
    """The bundled model."""
    from llmwidgets.engine import load

    return load()


def inputs_of(model: Any, names: list[str], windows: list[list[int]]) -> dict[str, Tensor]:
    """Return what goes into layers, shape (T, K), over windows of tokens."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    hooks = [
        model.get_submodule(f"model.{name}").register_forward_pre_hook(
            lambda module, args, name=name: seen[name].append(args[0][0].clone())
        )
        for name in names
    ]
    with torch.inference_mode():
        for window in windows:
            model(torch.tensor([window]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(rows) for name, rows in seen.items()}


def off(X: Tensor, W: Tensor, quantized: Tensor) -> float:
    """Return the squared error of a layer's output, in float64."""
    return float((X.double() @ (quantized - W).double().T).square().sum())
