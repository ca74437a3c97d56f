"""The front end's fold of the packed events equals `serving.steps` at every step, on any way through them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.records.events import Add, Admit, Chunk, Event, Fill
from llmwidgets.records.serving import Serving, StepLog
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.block_pool import BlockPool
from llmwidgets.scheduling.serving_run import ServingRun
from tests.browser.kv_cache_fold import expected, folded
from tests.browser.kv_cache_page import chat

pytestmark = pytest.mark.browser


def with_priorities() -> Serving:
    requests = lw.workload("chat", 14, vocab_size=1000, rate=0.3)
    requests = [replace(request, priority=(7 * i) % 3 - 10**12) for i, request in enumerate(requests)]
    return lw.simulate(
        requests, block_size=8, num_gpu_blocks=44, max_num_seqs=8, scheduling_policy="priority"
    )


def with_children() -> Serving:
    requests = lw.workload("rag", 8, vocab_size=1000, scale=0.5)
    return lw.simulate(
        [replace(request, n=1 + i % 3) for i, request in enumerate(requests)], num_gpu_blocks=40
    )


def with_aborts() -> Serving:
    requests = lw.workload("chat", 12, vocab_size=1000, rate=0.5)
    run = ServingRun(requests, ServingConfig(block_size=4, num_gpu_blocks=70))
    draw = random.Random(0)
    while (output := run.begin_step()) is not None and len(run.log) < 60:
        if draw.random() < 0.15:  # in the middle of a step
            run.abort(draw.choice(list(run.scheduler.sequences)))
        run.end_step(
            {name: draw.randrange(9) for name in output.to_sample if name in run.scheduler.sequences}
        )
        if draw.random() < 0.15 and run.scheduler.sequences:  # between two steps
            run.abort(draw.choice(list(run.scheduler.sequences)))
    return run.serving()


def with_copies() -> Serving:
    """Two sequences that fork as in the PagedAttention paper, which `serve` never does: Copy events."""
    events: list[Event] = []
    pool = BlockPool(12, True, events)
    requests = (lw.Request((1, 2, 3, 4, 5, 6), 4, "a"), lw.Request((1, 2, 3, 4, 5, 6), 4, "b"))
    log = []

    def end_step(sampled: dict[str, tuple[int, ...]]) -> None:
        log.append(StepLog(len(log), tuple(events), len(events), sampled))
        events.clear()

    events += [Add("a", 0), Add("b", 0), Admit("a", 0)]
    first = pool.allocate(2, "a")
    events += [Chunk("a", 0, 6), Fill(first[0].block_id, "a", 0, 4), Fill(first[1].block_id, "a", 4, 6)]
    end_step({"a": (7,)})
    events.append(Admit("b", 6))
    second = pool.fork(first, "b")
    end_step({"b": (8,)})
    pool.write(second, 1, "b")
    end_step({})  # copied, and nothing written yet
    for table, name in ((second, "b"), (first, "a")):
        block = pool.write(table, 1, name)
        events += [Chunk(name, 6, 1), Fill(block.block_id, name, 6, 7)]
    end_step({"a": (9,), "b": (9,)})
    whole = lw.simulate(requests, block_size=4, num_gpu_blocks=12)
    metrics = replace(whole.metrics, requests=())
    return replace(whole, log=tuple(log), metrics=metrics)


RUNS = {
    "preemption": chat,
    "preemption without prefix caching": lambda: chat(enable_prefix_caching=False),
    "sharing": lambda: lw.simulate(lw.workload("rag", 16, vocab_size=1000), num_gpu_blocks=40),
    "priority": with_priorities,
    "children": with_children,
    "aborts": with_aborts,
    "one block a token": lambda: chat(6, block_size=1, num_gpu_blocks=200),
    "static batches": lambda: chat(batching="static", num_gpu_blocks=100),
    "contiguous": lambda: chat(cache="contiguous_pow2", num_gpu_blocks=70),
}
HAPPENS = {
    "preemption": ("Preempt", "Resume", "Evict", "Share"),
    "sharing": ("Share", "Evict"),
    "priority": ("Preempt",),
    "children": ("Share",),
    "aborts": ("Abort", "Evict"),
    "static batches": ("Batch",),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_step_is_equal(open_page: Callable[..., Page], name: str) -> None:
    serving = RUNS[name]()
    happened = Counter(type(event).__name__ for step in serving.log for event in step.events)
    assert all(happened[kind] for kind in HAPPENS.get(name, ())), happened
    page = open_page(lw.KVCacheGrid(serving).to_html())
    steps = range(len(serving.log))
    for step, state in zip(steps, folded(page, steps), strict=True):
        assert state == expected(serving, step), f"step {step}"


def test_copies_on_write_are_equal(open_page: Callable[..., Page]) -> None:
    serving = with_copies()
    page = open_page(lw.KVCacheGrid(serving).to_html())
    for step, state in enumerate(folded(page, range(4))):
        wanted = expected(serving, step)
        del state["use"], wanted["use"]  # the metrics are those of another run
        assert state == wanted
        assert len({*wanted["tables"].get("b", [])} - {*wanted["tables"]["a"]}) == (step > 1)
    assert [block[4] for block in wanted["blocks"]] == [[1, 2, 3, 4], [5, 6, 7], [5, 6, 8]]


def test_any_way_through_a_long_run_is_equal(open_page: Callable[..., Page]) -> None:
    """Back and forth over many kept states: 20,000 events and more."""
    requests = lw.workload("chat", 120, vocab_size=1000, rate=0.6, scale=2)
    serving = lw.simulate(
        [replace(request, priority=(7 * i) % 3) for i, request in enumerate(requests)],
        block_size=16,
        num_gpu_blocks=200,
        max_num_seqs=32,
        max_num_batched_tokens=512,
        scheduling_policy="priority",
    )
    assert serving.metrics.preemptions > 50
    assert len(lw.KVCacheGrid(serving)._drawn["rows"]) > 20_000
    page = open_page(lw.KVCacheGrid(serving).to_html())
    last = len(serving.log) - 1
    draw = random.Random(0)
    steps = [last, 0, last // 2, last // 2 - 1, *(draw.randint(0, last) for _ in range(40)), last]
    for step, state in zip(steps, folded(page, steps), strict=True):
        assert state == expected(serving, step), f"step {step}"
