"""How well a text is predicted by position, on copies of a model whose frequencies are stretched."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  # PyTorch's own convention

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.forward import PackedForward
from llmwidgets.engine.generate import BLOCK_SIZE
from llmwidgets.engine.kv_cache import KVCache, num_blocks_for
from llmwidgets.engine.rotary import RotarySource, rotary_sources
from llmwidgets.records.position_loss import PositionLoss
from llmwidgets.records.rope import Rope

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

_LOGITS = 2**24  # numbers of one piece of logits: 64 MB in float32


def cut_windows(
    token_ids: Sequence[int], begin: Sequence[int], num_positions: int, num_windows: int
) -> list[list[int]]:
    """Return pieces of a text, spread evenly over it, each behind the begin tokens.

    Args:
        token_ids: the text.
        begin: what stands before every text, if anything.
        num_positions: positions of a window; it has one token more, which is only predicted.
        num_windows: how many; they overlap where the text is too short to lie side by side.

    Raises:
        ValueError: if the text is shorter than one window.
    """
    length = num_positions + 1 - len(begin)
    if len(token_ids) < length:
        raise ValueError(
            f"text has {len(token_ids)} tokens; for positions up to max_position={num_positions} at least "
            f"{length} are needed"
        )
    starts = np.linspace(0, len(token_ids) - length, num_windows).round().astype(int)
    return [[*begin, *token_ids[start : start + length]] for start in starts.tolist()]


def position_loss(
    engine: Engine,
    windows: list[list[int]],
    edges: Sequence[int],
    source: RotarySource,
    ropes: Sequence[Rope],
) -> PositionLoss:
    """Run every window by every rope, and average the loss over each bucket of positions.

    Args:
        engine: whose model is copied; it stays untouched, and may serve meanwhile.
        windows: token ids, each one longer than the last of `edges`.
        edges: bounds of the buckets, from 0, shape (B + 1,).
        source: the frequencies that a rope replaces.
        ropes: `"none"` is the model as it is.
    """
    losses = [
        _bucket_losses(engine, stretched(engine.model, source, rope), windows, edges, rope) for rope in ropes
    ]
    return PositionLoss(
        scalings=tuple(rope.scaling for rope in ropes),
        edges=np.array(edges, np.int64),
        num_tokens=np.diff(edges).astype(np.int64) * len(windows),
        loss=np.array(losses, np.float32),
        num_windows=len(windows),
    )


def stretched(model: Any, source: RotarySource, rope: Rope) -> Any:
    """Return a copy of a model whose config names the rope, with the rotary module that Transformers makes.

    Modules and configs are new; weights are shared with the model, since nothing here writes to them.

    Raises:
        ValueError: if Transformers turns the copy otherwise than the rope says.
    """
    shared = {id(tensor): tensor for tensor in model.parameters()}
    made = copy.deepcopy(model, shared).eval()
    if rope.scaling == "none":
        return made
    config = made.config.get_text_config()
    parameters: dict[str, Any] = dict(rope.rope_parameters)
    config.rope_parameters = (
        parameters if source.layer_type is None else config.rope_parameters | {source.layer_type: parameters}
    )
    for module in source.modules:
        parent, _, name = module.rpartition(".")
        rotary = type(made.get_submodule(module))(config=config)
        setattr(made.get_submodule(parent), name, rotary.to(model.device))
    _check(made, source, rope)
    return made


def _check(made: Any, source: RotarySource, rope: Rope) -> None:
    """Raise ValueError unless Transformers has the frequencies of the rope at the trained length."""
    (found,) = (
        other
        for other in rotary_sources(made)
        if (other.modules, other.layer_type) == (source.modules, source.layer_type)
    )
    ours = rope.frequencies(int(rope.lengths[0]))
    agree = found.inv_freq.shape == ours.shape and np.allclose(found.inv_freq, ours, rtol=1e-5, atol=0)
    if not agree or not np.isclose(found.attention_factor, rope.attention_factor):
        raise ValueError(
            f"scalings={rope.scaling!r} is not allowed for the family {made.config.model_type!r}: "
            "Transformers makes other frequencies of it than the paper's"
        )


def _bucket_losses(
    engine: Engine, model: Any, windows: list[list[int]], edges: Sequence[int], rope: Rope
) -> list[float]:
    """Return the mean loss of each bucket, in nats.

    Frequencies that depend on the length change for all positions when the sequence grows, so nothing that
    was computed for a shorter one may be kept: there a bucket runs the whole sequence up to its end.
    """
    forward = PackedForward(model)
    size = max(64, _LOGITS // engine.vocab_size)
    totals = [0.0] * (len(edges) - 1)
    for window in windows:
        # After a short pass Transformers has forgotten how long an earlier window was.
        forward.run(forward.prepare([Chunk(window[:1])]))
        cache = KVCache(num_blocks_for(edges[-1], BLOCK_SIZE), BLOCK_SIZE)
        for bucket, (start, stop) in enumerate(pairwise(edges)):
            anew = rope.depends_on_length and stop > rope.lengths[0]
            for chunk in [_from_start(window, start, stop)] if anew else _pieces(window, start, stop, size):
                logits = forward.run(forward.prepare([chunk], None if anew else cache))
                last = chunk.num_computed + len(chunk.token_ids)
                wanted = window[last + 1 - chunk.num_logits : last + 1]
                labels = torch.tensor(wanted, device=logits.device)
                for rows, targets in zip(logits.split(size), labels.split(size), strict=True):
                    totals[bucket] += float(F.cross_entropy(rows.float(), targets, reduction="sum"))
    counts = np.diff(edges) * len(windows)
    return [total / count for total, count in zip(totals, counts.tolist(), strict=True)]


def _from_start(window: list[int], start: int, stop: int) -> Chunk:
    """Return the whole sequence up to `stop`, with logits from `start` on; nothing is cached."""
    return Chunk(window[:stop], 0, None, stop - start)


def _pieces(window: list[int], start: int, stop: int, size: int) -> Iterator[Chunk]:
    """Yield the positions `start` to `stop` in pieces of `size`, behind those that are cached."""
    for first in range(start, stop, size):
        last = min(first + size, stop)
        yield Chunk(window[first:last], first, slice(0, last), last - first)
