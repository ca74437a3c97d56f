"""How many tokens a model was trained for, and how many it can take."""

from __future__ import annotations

from typing import Any

import torch

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.forward import Forward
from llmwidgets.engine.kv_cache import KVCache

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_UNSTATED_LENGTH = 2048  # for families without a trained length in their config, such as those with ALiBi


def trained_length(config: Any) -> int:
    """Return the most tokens of one sequence that a config states, or 2048, and no more than stay steady."""
    found = [getattr(config, name, None) for name in _NAMES]
    stated = next((n for n in found if isinstance(n, int) and n > 0), _UNSTATED_LENGTH)
    steady = _steady_length(config)
    return stated if steady is None else min(stated, steady)


def check_reach(forward: Forward, config: Any, max_model_len: int) -> None:
    """Raise ValueError unless the model computes something at the last position of the context."""
    steady = _steady_length(config)
    if steady is not None and max_model_len > steady:
        raise ValueError(
            f"max_model_len={max_model_len} is not allowed: past {steady} tokens this model turns all keys "
            "by other angles, which those in a cache would lack"
        )
    slots = torch.zeros(max_model_len, dtype=torch.long, device=forward.device)  # one token, seen as all
    batch = forward.prepare([Chunk([0], max_model_len - 1, slots)], KVCache(num_blocks=1))
    try:
        forward.run(batch)
    except (IndexError, RuntimeError) as error:
        raise ValueError(
            f"max_model_len={max_model_len} is not allowed: the model's position embeddings end before it"
        ) from error


def _steady_length(config: Any) -> int | None:
    """Return up to which length rotary angles depend on the position alone; None if at any length.

    Past it, `dynamic` and `longrope` choose them by the longest sequence of a pass (Ding et al. 2024,
    LongRoPE), so sequences of a batch would change each other, and keys in the cache would not fit.
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    by_layer_type = [rope for rope in parameters.values() if isinstance(rope, dict)]
    lengths = [
        rope.get("original_max_position_embeddings") or config.max_position_embeddings
        for rope in by_layer_type or [parameters]
        if rope.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(lengths, default=None)
