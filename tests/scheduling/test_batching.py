"""Static batches and contiguous caches: who waits for whom, and which slots stand empty, counted by hand."""

import random

import pytest

import llmwidgets as lw

KNOBS = {"block_size": 4, "num_gpu_blocks": 65, "max_num_seqs": 4, "max_num_batched_tokens": 64}


def mixed(count=20, seed=0):
    draw = random.Random(seed)
    return [
        lw.Request([draw.randrange(2) for _ in range(draw.randint(1, 20))], draw.randint(1, 16), f"r{i}")
        for i in range(count)
    ]


def test_a_static_batch_ends_as_a_whole_before_the_next_begins():
    s = lw.simulate(mixed(), batching="static", **KNOBS)
    batches = [[f"r{i}" for i in range(start, start + 4)] for start in range(0, 20, 4)]
    ended: set[str] = set()
    for step in s.steps:
        for new in step.new:
            batch = next(names for names in batches if new.id in names)
            assert ended >= {name for names in batches[: batches.index(batch)] for name in names}
        ended |= set(step.finish)
    assert ended == {f"r{i}" for i in range(20)}


def test_batching_none_runs_one_request_at_a_time():
    s = lw.simulate(mixed(), batching="none", **KNOBS)
    assert max(len(step.running) for step in s.steps) == 1
    assert s.metrics.idle_slot_steps == s.metrics.padded_tokens == 0


def test_idle_slots_and_padding_are_what_a_rectangle_would_compute():
    """With a budget that takes all prompts at once, a batch is prompt + longest output, row by row."""
    requests = mixed()
    s = lw.simulate(requests, batching="static", **(KNOBS | {"max_num_batched_tokens": 100}))
    idle = padded = steps = 0
    for start in range(0, 20, 4):
        batch = requests[start : start + 4]
        longest = max(r.max_tokens for r in batch)
        steps += longest
        idle += sum(longest - r.max_tokens for r in batch)
        padded += sum(max(len(q.prompt) for q in batch) - len(r.prompt) for r in batch)
    assert (s.metrics.num_steps, s.metrics.idle_slot_steps, s.metrics.padded_tokens) == (steps, idle, padded)
    assert s.metrics.idle_slot_steps == sum(len(step.idle) for step in s.steps)


def test_continuous_batching_needs_fewer_steps_and_leaves_no_slot_idle():
    static, continuous = (lw.simulate(mixed(), batching=name, **KNOBS) for name in ("static", "continuous"))
    assert continuous.metrics.num_steps < static.metrics.num_steps
    assert continuous.metrics.idle_slot_steps == 0
    assert all(step.idle == () for step in continuous.steps)
    assert {n: len(o) for n, o in static.outputs.items()} == {
        n: len(o) for n, o in continuous.outputs.items()
    }


@pytest.mark.parametrize("cache", ["contiguous_max", "contiguous_pow2"])
def test_a_contiguous_cache_gives_room_in_a_row_when_a_request_is_admitted(cache):
    s = lw.simulate(mixed(), cache=cache, max_model_len=40, **KNOBS)
    tables: dict[str, tuple[int, ...]] = {}
    for step in s.steps:
        for name, table in step.block_tables.items():
            assert tables.setdefault(name, table) == table  # it neither grows nor moves
    assert len(tables) == 20
    for request in s.requests:
        table = tables[request.request_id]
        total = len(request.prompt) + request.max_tokens
        room = 40 if cache == "contiguous_max" else next(2**i for i in range(9) if 2**i >= total)
        assert table == tuple(range(table[0], table[0] + -(-room // 4)))
    assert s.metrics.hit_tokens == s.metrics.preemptions == 0


@pytest.mark.parametrize("cache", ["paged", "contiguous_max", "contiguous_pow2"])
def test_every_slot_is_used_reserved_wasted_or_free(cache):
    knobs = KNOBS | {"num_gpu_blocks": 31}
    s = lw.simulate(mixed(), cache=cache, max_model_len=40, enable_prefix_caching=False, **knobs)
    # The last token is sampled and never computed.
    final = {r.request_id: len(r.prompt) + r.max_tokens - 1 for r in s.requests}
    for index, step in enumerate(s.steps):
        use = s.metrics.slot_use(index)
        assert use.total == 30 * 4
        held = {name: 4 * len(table) for name, table in step.block_tables.items()}
        assert use.used == sum(step.computed_after.values())
        if cache == "paged":
            assert (use.reserved, use.external) == (0, 0)
        else:
            assert use.reserved == sum(final[name] - step.computed_after[name] for name in held)
        assert use.reserved + use.internal == sum(held.values()) - use.used
        assert use.free + use.external == 4 * step.free_blocks
    whole = s.metrics.slot_use()
    assert whole.total == 30 * 4 * len(s.steps)
    assert whole.used == sum(s.metrics.slot_use(i).used for i in range(len(s.steps)))


def test_holes_that_are_too_small_keep_a_request_out():
    """r1 of 8 slots ends between r0 and r2; 8 + 8 slots are then free, but r3 wants 16 in a row."""
    knobs = {"block_size": 4, "num_gpu_blocks": 9, "max_num_seqs": 4, "max_num_batched_tokens": 64}
    requests = [
        lw.Request([1] * 4, 4, "r0"), lw.Request([1] * 4, 2, "r1"),
        lw.Request([1] * 4, 4, "r2"), lw.Request([1] * 9, 7, "r3"),
    ]  # fmt: skip
    s = lw.simulate(requests, cache="contiguous_pow2", **knobs)
    waits = [step.step for step in s.steps if "r3" in step.waiting and step.free_blocks >= 4]
    assert waits
    assert [s.metrics.slot_use(i).external for i in waits] == [16] * len(waits)
    paged = lw.simulate(requests, cache="paged", enable_prefix_caching=False, **knobs)
    assert paged.metrics.slot_use().external == 0


def test_a_contiguous_cache_refuses_room_that_the_pool_has_not():
    with pytest.raises(ValueError, match=r"room for 300 tokens, .* at most the pool's 256"):
        lw.simulate(mixed(), cache="contiguous_max", max_model_len=300, **KNOBS)
    with pytest.raises(ValueError, match="'paged' or 'contiguous_max' or 'contiguous_pow2'"):
        lw.simulate(mixed(), cache="virtual", **KNOBS)
    with pytest.raises(ValueError, match="'continuous' or 'static' or 'none'"):
        lw.simulate(mixed(), batching="dynamic", **KNOBS)


def test_priority_chooses_who_is_in_a_static_batch():
    requests = [lw.Request([1] * 3, 2, f"r{i}", priority=-i) for i in range(6)]
    knobs = KNOBS | {"max_num_seqs": 3}
    s = lw.simulate(requests, batching="static", scheduling_policy="priority", **knobs)
    assert [new.id for new in s.steps[0].new] == ["r5", "r4", "r3"]
