"""`inject_outliers`: a model that computes the same with a few channels far larger than the rest.

Large models grow such channels by themselves (Dettmers et al. 2022, section 4); a small one has none, and
LLM.int8's threshold and AWQ's scales have little to do.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from llmwidgets.engine.quantization.fold import fold, scale_groups
from llmwidgets.engine.quantization.targets import full_name, linear_layers

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine


def inject_outliers(engine: Engine, factor: float = 20.0, num_channels: int = 4, seed: int = 0) -> Engine:
    """Scale channels behind each norm up, and the columns that read them down by the same factor.

    Args:
        engine: stays as it is.
        factor: how much larger the channels become, at least 1; with a power of two the same to the last bit.
        num_channels: how many, the same behind all norms.
        seed: which ones.

    Returns:
        Another engine, over a copy that shares all other parameters.

    Raises:
        ValueError: for a value that is not allowed, a quantized engine, or norms that cannot be scaled.
    """
    from llmwidgets.engine.engine import Engine as AnEngine  # which imports this package

    known = linear_layers(engine.model)
    if getattr(engine, "quantization", None) is not None:
        raise ValueError(f"{engine.name} is quantized; inject outliers into the engine it was made of")
    width = engine.model.get_input_embeddings().embedding_dim
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor < float("inf"):
        raise ValueError(f"factor={factor!r} is not allowed; allowed is a number of at least 1")
    if isinstance(num_channels, bool) or not isinstance(num_channels, int) or not 1 <= num_channels <= width:
        raise ValueError(f"num_channels={num_channels!r} is not allowed; allowed are 1 to {width}")
    model = copy.deepcopy(engine.model, {id(tensor): tensor for tensor in engine.model.parameters()})
    groups = [
        group
        for group in scale_groups(type(engine.forward)(model), tuple(known))
        if group.before not in known
        and model.get_submodule(full_name(model, group.before)).weight.numel() == width
    ]
    if not groups:
        raise ValueError(
            f"models of the family {model.config.model_type!r} have no norm whose channels can be scaled "
            "together with their readers"
        )
    chosen = torch.randperm(width, generator=torch.Generator().manual_seed(seed))[:num_channels]
    s = torch.ones(width)
    s[chosen] = 1 / factor
    for group in groups:
        fold(model, group, s.to(engine.forward.device))
    made = AnEngine(model, engine.tokenizer, engine.max_model_len)
    made.name = f"{engine.name} with {num_channels} channels × {factor:g}"
    return made
