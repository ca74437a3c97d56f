"""The one attention function that every layer of every model goes through, over paged keys and values.

Registered with Transformers' two interfaces under one name: the attention itself, and a mask function
that makes no mask, since each sequence of the packed batch is masked here. Without the second, Transformers
would drop masks silently and for good.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # PyTorch's own convention
from transformers import AttentionInterface, AttentionMaskInterface

from llmwidgets.engine.batch import Batch
from llmwidgets.engine.kv_cache import KeysAndValues

NAME = "llmwidgets"

current_batch: ContextVar[Batch | None] = ContextVar("current_batch", default=None)
"""The batch of the forward pass that this thread is in; set by `forward` alone."""

# Keywords that families pass along and that say nothing about how to attend.
_SILENT = frozenset({"position_ids", "cache_position", "position_embeddings", "use_cache", "deterministic"})
_ROWS = 256  # queries at once where scores must be formed, so that memory stays rows × keys


@dataclass(frozen=True)
class Attend:
    """How one layer attends, as its module asked for it."""

    scaling: float
    sliding_window: int | None
    softcap: float | None
    sinks: Tensor | None  # (H,) logits


def register() -> None:
    """Make `NAME` known to Transformers; again is the same as once."""
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, no_mask)


def attention_forward(
    module: torch.nn.Module,
    query: Tensor,  # (1, H, N, D), N tokens of all sequences in a row
    key: Tensor,  # (1, H_kv, N, D)
    value: Tensor,  # (1, H_kv, N, D_v)
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **asked: Any,
) -> tuple[Tensor, None]:
    """Write the new keys and values to the cache, and attend sequence by sequence.

    Returns:
        The output, shape (1, N, H, D_v), and None for weights.

    Raises:
        ValueError: for a keyword whose meaning is unknown here.
    """
    batch = current_batch.get()
    if batch is None:
        raise RuntimeError("the llmwidgets attention function runs only inside an Engine's forward pass")
    if attention_mask is not None:
        raise ValueError(f"{type(module).__name__} passes an attention mask of its own")
    attend = read_keywords(module, query, scaling, dropout, asked)
    layer: int = module.layer_idx  # type: ignore[assignment]  # an int on every attention module
    batch.note_layer(layer, query, key, value, attend)
    queries, keys, values = query[0], key[0].transpose(0, 1), value[0].transpose(0, 1)
    if batch.cache is not None and batch.slot_mapping is not None:
        batch.cache.write(layer, batch.slot_mapping, keys, values)
    output = queries.new_empty(queries.shape[1], queries.shape[0], values.shape[2])  # (N, H, D_v)
    for span in batch.spans:
        # A copy for each sequence: one copy for all was slower, for it leaves the processor's cache.
        if batch.cache is not None and span.slots is not None:
            seen = batch.cache.read(layer, span.slots)
        else:
            seen = KeysAndValues(keys[span.start : span.stop], values[span.start : span.stop])
        output[span.start : span.stop] = attend_one(
            queries[:, span.start : span.stop],
            seen.keys.transpose(0, 1),
            seen.values.transpose(0, 1),
            span.num_computed,
            attend,
        ).transpose(0, 1)
    return output[None], None


def no_mask(**asked: Any) -> None:
    """Make no mask, and let the probe see which one the model wanted."""
    batch = current_batch.get()
    if batch is not None:
        batch.note_mask(asked["mask_function"], asked.get("local_size"))


def read_keywords(
    module: torch.nn.Module, query: Tensor, scaling: float | None, dropout: float, asked: dict[str, Any]
) -> Attend:
    """Return how to attend.

    Raises:
        ValueError: for a keyword whose meaning is unknown here.
    """
    known = dict(asked)
    window, softcap, sinks = (known.pop(name, None) for name in ("sliding_window", "softcap", "s_aux"))
    if known.pop("is_causal", None) is False or getattr(module, "is_causal", True) is False or dropout:
        raise ValueError(f"{type(module).__name__} attends without a causal mask, or with dropout")
    for name, given in known.items():
        if name not in _SILENT and given is not None and given is not False:
            raise ValueError(f"{type(module).__name__} passes {name!r}, which is unknown to this engine")
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    return Attend(float(scaling), window, softcap, None if sinks is None else sinks.reshape(-1))


def attend_one(query: Tensor, key: Tensor, value: Tensor, first: int, attend: Attend) -> Tensor:
    """Attend within one sequence, whose queries are the last of its positions.

    Args:
        query: shape (H, q, D).
        key: shape (H_kv, S, D), all positions up to the last query's.
        value: shape (H_kv, S, D_v).
        first: position of the first query.
        attend: scaling, window, softcap, sinks.

    Returns:
        The output, shape (H, q, D_v).
    """
    num_queries = query.shape[1]
    if attend.sliding_window is not None:  # keys that no query sees any more
        unseen = max(0, first - attend.sliding_window + 1)
        key, value, first = key[:, unseen:], value[:, unseen:], first - unseen
    if attend.softcap is not None or attend.sinks is not None:
        rows = [
            _attend_openly(query[:, row : row + _ROWS], key, value, first + row, attend)
            for row in range(0, num_queries, _ROWS)
        ]
        return torch.cat(rows, dim=1)
    windowed = attend.sliding_window is not None and attend.sliding_window < key.shape[1]
    if num_queries == 1:
        # A lone query sees all that is left. Its heads that share a key-value head go in as rows of one
        # matrix, so that keys are not repeated: (H, 1, D) -> (H_kv, H / H_kv, D).
        packed = query.reshape(key.shape[0], -1, query.shape[2])
        output = F.scaled_dot_product_attention(packed[None], key[None], value[None], scale=attend.scaling)
        return output.reshape(query.shape[0], 1, value.shape[2])
    causal = first == 0 and not windowed
    return F.scaled_dot_product_attention(
        query[None],
        key[None],
        value[None],
        attn_mask=None if causal else visible(num_queries, key, first, attend),
        is_causal=causal,
        scale=attend.scaling,
        enable_gqa=query.shape[0] != key.shape[0],
    )[0]


def visible(num_queries: int, key: Tensor, first: int, attend: Attend) -> Tensor:
    """Return which of the S keys each query sees, shape (q, S); the first query is at position `first`."""
    positions = torch.arange(first, first + num_queries, device=key.device)[:, None]
    key_positions = torch.arange(key.shape[1], device=key.device)
    seen = key_positions <= positions
    if attend.sliding_window is not None:
        seen &= key_positions > positions - attend.sliding_window
    return seen


def _attend_openly(query: Tensor, key: Tensor, value: Tensor, first: int, attend: Attend) -> Tensor:
    """Attend with the scores in hand, where PyTorch's fused function knows no softcap and no sink."""
    heads, num_queries, _ = query.shape
    grouped = query.reshape(key.shape[0], -1, query.shape[2])  # (H_kv, H / H_kv · q, D)
    scores = (grouped @ key.transpose(1, 2) * attend.scaling).view(heads, num_queries, -1)
    if attend.softcap is not None:
        scores = torch.tanh(scores / attend.softcap) * attend.softcap
    scores = scores.masked_fill(~visible(num_queries, key, first, attend), -torch.inf).float()
    if attend.sinks is not None:  # one more key that takes its share and gives no value
        sinks = attend.sinks.float()[:, None, None].expand(heads, num_queries, 1)
        weights = torch.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1]
    else:
        weights = torch.softmax(scores, dim=-1)
    weights = weights.to(value.dtype).view(key.shape[0], -1, key.shape[1])
    return (weights @ value).view(heads, num_queries, -1)
