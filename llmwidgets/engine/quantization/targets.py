"""Which layers of a model are quantized, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from llmwidgets.records.quantization_scheme import QuantizationScheme


def linear_layers(model: Any) -> dict[str, nn.Linear]:
    """Return the linear layers of the decoder layers by name, in the order of the model.

    The embeddings and the output head stay as they are, as do experts that lie in one tensor for all. A name
    is the module's, without the prefix that all share: `layers.3.mlp.down_proj`.

    Raises:
        ValueError: if the model has none, or is quantized already.
    """
    if getattr(model.config, "quantization_config", None) is not None:
        raise ValueError(
            f"{model.name_or_path or type(model).__name__} is a quantized checkpoint; allowed are models in "
            "float"
        )
    head = model.get_output_embeddings()
    found = {
        short_name(model, name): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    if not found:
        transposed = any(isinstance(module, Conv1D) for module in model.modules())
        why = "its matrices are Conv1D, with rows for columns" if transposed else "it has no nn.Linear"
        raise ValueError(
            f"models of the family {model.config.model_type!r} cannot be quantized here: {why}; allowed are "
            "families whose layers are nn.Linear, such as llama, qwen3 or gemma"
        )
    return found


def short_name(model: Any, name: str) -> str:
    """Return a module's name without the prefix of the base model."""
    return name.removeprefix(f"{model.base_model_prefix}.")


def full_name(model: Any, name: str) -> str:
    """Return the name that the model itself uses."""
    prefixed = f"{model.base_model_prefix}.{name}"
    return prefixed if hasattr(model, model.base_model_prefix) else name


def choose_layers(
    known: dict[str, nn.Linear], wanted: str | Sequence[str] | None, argument: str = "layers"
) -> tuple[str, ...]:
    """Return names in the order of the model.

    Args:
        known: all linear layers.
        wanted: names, or patterns such as `"layers.*.mlp.*"`; None for all.
        argument: what the caller calls them, for the message.

    Raises:
        ValueError: for one that matches nothing, with the nearest names.
    """
    if wanted is None:
        return tuple(known)
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    if not patterns:
        raise ValueError(f"{argument}={wanted!r} is empty; allowed are names of layers, or None for all")
    chosen: set[str] = set()
    for pattern in patterns:
        matching = [name for name in known if fnmatchcase(name, str(pattern))]
        if not matching:
            near = get_close_matches(str(pattern), known, n=3, cutoff=0) or list(known)[:3]
            raise ValueError(
                f"{argument}={pattern!r} matches no linear layer; nearest are {', '.join(map(repr, near))}"
            )
        chosen.update(matching)
    return tuple(name for name in known if name in chosen)


def check_weights(name: str, linear: nn.Linear, scheme: QuantizationScheme) -> None:
    """Refuse a layer that the scheme cannot quantize.

    Raises:
        ValueError: for weights that are not finite, a group size that does not divide the columns, or rows
            that bitsandbytes cannot repack.
    """
    weight = linear.weight
    if type(linear) is not nn.Linear or not weight.is_floating_point():
        raise ValueError(f"{name!r} is a {type(linear).__name__} and quantized already; allowed is nn.Linear")
    if not all(torch.isfinite(bound) for bound in weight.aminmax()):  # NaN goes through
        raise ValueError(f"the weights of {name!r} hold NaN or infinity; allowed are finite weights")
    rows, columns = weight.shape
    try:
        scheme.num_groups(columns)
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from error
    if scheme.method in ("nf4", "fp4") and rows % 32:
        raise ValueError(
            f"{name!r} has {rows} rows; bitsandbytes repacks {scheme.method!r} weights by 32 rows; allowed "
            "are multiples of 32 (leave the layer out with layers=)"
        )
