"""Small workloads that together meet everything a scheduler does: records for tests of what reads them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import llmwidgets as lw
from llmwidgets.records.serving import Serving
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.serving_run import ServingRun

KNOBS = {"block_size": 8, "num_gpu_blocks": 40, "max_num_seqs": 6, "max_num_batched_tokens": 32}


def chat(**fields: Any) -> list[lw.Request]:
    """Return twelve chats over token ids; every third has `fields`."""
    requests = lw.workload("chat", 12, vocab_size=1000)
    return [replace(request, **fields) if i % 3 == 0 else request for i, request in enumerate(requests)]


def with_priorities() -> list[lw.Request]:
    draw = random.Random(1)
    return [replace(request, priority=draw.randrange(4)) for request in chat()]


@cache
def served(name: str) -> Serving:
    """Return one of the runs, by a name of `NAMES`."""
    if name in SIMULATED:
        requests, knobs = SIMULATED[name]
        return lw.simulate(requests, **(KNOBS | knobs))
    *_, last = stepped(**STEPPED[name])
    return last


SIMULATED: dict[str, tuple[list[lw.Request], dict[str, Any]]] = {
    "preempted": (chat(), {}),
    "by priority": (with_priorities(), {"scheduling_policy": "priority", "num_gpu_blocks": 30}),
    "several answers": (chat(n=3), {}),
    "long documents": (lw.workload("rag", 8, vocab_size=1000), {"num_gpu_blocks": 60}),
    "nothing cached": (chat(), {"enable_prefix_caching": False}),
    "whole prompts": (chat(), {"enable_chunked_prefill": False, "max_num_batched_tokens": 256}),
    "in static batches": (chat(), {"batching": "static"}),
    "one at a time": (chat(), {"batching": "none"}),
    "with pauses": ([replace(request, arrival=40 * i) for i, request in enumerate(chat())], {}),
}
STEPPED: dict[str, dict[str, Any]] = {
    "aborted": {"aborts": True},
    "timed and aborted": {"aborts": True, "timed": True},
    "still running": {"stop_after": 30},
    "timed, in static batches": {"timed": True, "batching": "static"},
}
NAMES = [*SIMULATED, *STEPPED]


def stepped(
    *, aborts: bool = False, timed: bool = False, stop_after: int | None = None, **knobs: Any
) -> Iterator[Serving]:
    """Yield the record before the first step and after each; aborts fall before, in and after steps."""
    draw = random.Random(2)
    run = ServingRun(chat(n=2), ServingConfig.of(**(KNOBS | knobs)), timed=timed)

    def abort_one() -> None:
        if aborts and run.scheduler.sequences and draw.random() < 0.04:
            run.abort(draw.choice(sorted(run.scheduler.sequences)))

    yield run.snapshot()
    while (output := run.begin_step()) is not None and len(run.log) != stop_after:
        abort_one()
        there = [name for name in output.to_sample if name in run.scheduler.sequences]
        stopped = [name for name in there if draw.random() < 0.01]
        seconds = draw.uniform(0.01, 0.05) if timed else None
        run.end_step({name: draw.randrange(1000) for name in there}, stopped, wall_seconds=seconds)
        yield run.snapshot()
        abort_one()
    if stop_after is None:
        yield run.serving()
