"""`roofline`: prefill and decode steps of a model, counted and timed, under this machine's two limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.ceilings import measure_ceilings
from llmwidgets.engine.flops import WorkCounter, check_count
from llmwidgets.engine.kv_cache import KVCache, num_blocks_for
from llmwidgets.engine.timing import time_passes
from llmwidgets.records.roofline import Ceilings, Phase, RooflinePoint, RooflineSweep

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

_BLOCK_SIZE = 16
_BUDGET = 0.1  # seconds for each point


def roofline(
    engine: Engine,
    prompt_lengths: Sequence[int],
    batch_sizes: Sequence[int],
    context: int,
    ceilings: Ceilings | None,
) -> RooflineSweep:
    """See `Engine.roofline`."""
    lengths = _sizes("prompt_lengths", prompt_lengths, engine.max_model_len)
    batches = _sizes("batch_sizes", batch_sizes, None)
    _sizes("context", [context], engine.max_model_len - 1)
    if engine.path != "packed":
        raise ValueError(
            f"{engine.name} runs on the {engine.path} path, one sequence at a time, so a batch shares no "
            "reads of weights; allowed are engines whose path is 'packed'"
        )
    counter = WorkCounter(engine.model, engine.layers)
    check_count(engine.forward, counter)
    if ceilings is None:
        ceilings = measure_ceilings(engine.forward.device, engine.model.dtype)
    points = [_prefill(engine, counter, length) for length in lengths]
    cache = _filled(engine, context, max(batches))
    points += [_decode(engine, counter, cache, context, batch_size) for batch_size in batches]
    return RooflineSweep(engine.name, ceilings, tuple(points), counter.parameter_bytes)


def _prefill(engine: Engine, counter: WorkCounter, length: int) -> RooflinePoint:
    cache = KVCache(num_blocks_for(length, _BLOCK_SIZE), _BLOCK_SIZE)
    return _point(engine, counter, cache, "prefill", [Chunk(_tokens(engine, length), 0, slice(0, length))])


def _decode(
    engine: Engine, counter: WorkCounter, cache: KVCache, context: int, batch_size: int
) -> RooflinePoint:
    token_ids = _tokens(engine, batch_size)
    starts = [_start(index, context) for index in range(batch_size)]
    chunks = [
        Chunk([token_id], context, slice(start, start + context + 1))
        for token_id, start in zip(token_ids, starts, strict=True)
    ]
    return _point(engine, counter, cache, "decode", chunks)


def _point(
    engine: Engine, counter: WorkCounter, cache: KVCache, phase: Phase, chunks: list[Chunk]
) -> RooflinePoint:
    """Count a step and time it, as `generate` runs it: packed, then through the model, without sampling."""
    forward = engine.forward
    timing = time_passes(lambda: forward.run(forward.prepare(chunks, cache)), forward.device, _BUDGET)
    return RooflinePoint(
        phase=phase,
        batch_size=len(chunks),
        num_tokens=sum(len(chunk.token_ids) for chunk in chunks),
        context=chunks[0].num_computed,
        seconds=timing.seconds,
        cpu_seconds=timing.cpu_seconds,
        wall_seconds=timing.wall_seconds,
        **asdict(counter.count(chunks)),
    )


def _filled(engine: Engine, context: int, batch_size: int) -> KVCache:
    """Return a cache in which each sequence has its own copy of the keys and values of one context."""
    cache = KVCache(num_blocks_for(context + 1, _BLOCK_SIZE) * batch_size, _BLOCK_SIZE)
    first = Chunk(_tokens(engine, context), 0, slice(0, context))
    engine.forward.run(engine.forward.prepare([first], cache))
    with torch.inference_mode():
        for layer in range(len(engine.layers)):
            seen = cache.read(layer, slice(0, context))
            keys, values = seen.keys.clone(), seen.values.clone()  # what is read is a view of the cache
            for index in range(1, batch_size):
                start = _start(index, context)
                slots = torch.arange(start, start + context, device=engine.forward.device)
                cache.write(layer, slots, keys, values)
    return cache


def _start(index: int, context: int) -> int:
    """Return the first slot of a sequence."""
    return index * num_blocks_for(context + 1, _BLOCK_SIZE) * _BLOCK_SIZE


def _tokens(engine: Engine, count: int) -> list[int]:
    """Return any tokens: how long a step takes does not depend on which they are."""
    return [(3 + 7 * index) % engine.vocab_size for index in range(count)]


def _sizes(name: str, given: Sequence[int], most: int | None) -> list[int]:
    """Return the sizes ascending and once each.

    Raises:
        ValueError: if there are none, or one is out of reach.
    """
    sizes = [given] if isinstance(given, int) else list(given)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1 or (most and size > most):
            up_to = f"from 1 to {most}" if most else "from 1"
            raise ValueError(f"{name} holds {size!r}; allowed are integers {up_to}")
    if not sizes:
        raise ValueError(f"{name} is empty; at least one is needed")
    return sorted(set(sizes))
