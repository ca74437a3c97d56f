"""What no recording has: aligned hits, priorities, whole prompts, children, aborts, hits in one step."""

import pytest

from llmwidgets.records.events import Chunk, Preempt
from llmwidgets.records.request import Request
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.scheduler import Scheduler
from llmwidgets.scheduling.simulate import simulate

PROMPT = tuple(range(100, 108))


def small(**knobs):
    return {"block_size": 4, "num_gpu_blocks": 20, "max_num_seqs": 4, "max_num_batched_tokens": 32} | knobs


def test_a_fully_cached_aligned_prompt_computes_its_last_block_again():
    s = simulate([Request(PROMPT, 1, "a"), Request(PROMPT, 1, "b", arrival=3)], **small())
    assert [vars(new) for new in s.steps[1].new] == [{"id": "b", "prompt_len": 8, "cached_tokens": 4}]
    assert s.steps[1].scheduled_tokens == {"b": 4}
    assert s.steps[1].iteration == 3
    assert s.steps[1].block_tables["b"][0] == s.steps[0].block_tables["a"][0]
    assert s.steps[1].block_tables["b"][1] != s.steps[0].block_tables["a"][1]
    unaligned = simulate([Request(PROMPT, 1, "a"), Request((*PROMPT, 5), 1, "b", arrival=3)], **small())
    assert unaligned.steps[1].scheduled_tokens == {"b": 1}


def test_a_later_request_hits_blocks_of_the_same_step():
    s = simulate([Request((*PROMPT, 1), 1, "a"), Request((*PROMPT, 2), 1, "b")], **small())
    assert s.steps[0].scheduled_tokens == {"a": 9, "b": 1}
    assert s.steps[0].block_tables == {"a": (1, 2, 3), "b": (1, 2, 4)}
    assert {b.block_id: b.ref_count for b in s.steps[0].blocks} == {1: 2, 2: 2, 3: 1, 4: 1}
    assert s.metrics.hit_tokens == 8


def test_children_share_the_full_blocks_of_their_prompt():
    s = simulate([Request((*PROMPT, 1), 3, "a", n=3)], {"1_a": [7, 8, 9], "0_a": 2}, **small())
    assert s.steps[0].scheduled_tokens == {"0_a": 9, "1_a": 1, "2_a": 1}
    assert [table[:2] for table in s.steps[0].block_tables.values()] == [(1, 2)] * 3
    assert len({table[2] for table in s.steps[0].block_tables.values()}) == 3
    assert list(map(len, (s.outputs["0_a"], s.outputs["1_a"], s.outputs["2_a"]))) == [2, 3, 3]
    assert s.outputs["1_a"] == (7, 8, 9)
    assert {r.request_id: r.finish_reason for r in s.metrics.requests} == {
        "0_a": "stop",
        "1_a": "length",
        "2_a": "length",
    }


def test_without_chunking_a_prompt_waits_until_the_whole_of_it_fits_the_budget():
    requests = [Request(range(20), 2, "a"), Request(range(50, 70), 2, "b"), Request(range(90, 92), 2, "c")]
    whole = simulate(requests, **small(enable_chunked_prefill=False))
    assert [step.scheduled_tokens for step in whole.steps] == [
        {"a": 20},
        {"a": 1, "b": 20, "c": 2},
        {"b": 1, "c": 1},
    ]
    assert whole.steps[0].waiting == ("b", "c")  # nobody overtakes
    chunked = simulate(requests, **small())
    assert [step.scheduled_tokens for step in chunked.steps] == [
        {"a": 20, "b": 12},
        {"a": 1, "b": 8, "c": 2},
        {"b": 1, "c": 1},
    ]


def test_priority_decides_who_is_admitted_and_ties_go_by_arrival():
    requests = [
        Request((1,), 3, "low", priority=5),
        Request((2,), 1, "mid", priority=1, arrival=1),
        Request((3,), 1, "late", priority=1, arrival=1),
        Request((4,), 1, "high", priority=-1, arrival=1),
    ]
    s = simulate(requests, **small(max_num_seqs=1), scheduling_policy="priority")
    assert [step.running for step in s.steps] == [("low",)] * 3 + [("high",), ("mid",), ("late",)]
    assert s.steps[1].waiting == ("high", "mid", "late")
    in_order = simulate(requests, **small(max_num_seqs=1))
    assert in_order.steps[-1].running == ("high",)


def test_the_lowest_priority_is_preempted_even_if_scheduled_in_this_step():
    config = ServingConfig(**small(num_gpu_blocks=8, max_num_batched_tokens=16), scheduling_policy="priority")
    events = []
    scheduler = Scheduler(config, events)
    scheduler.add("high", tuple(range(20, 28)), 8, priority=1)  # blocks 1 and 2
    low = scheduler.add("low", tuple(range(20)), 8, priority=2)  # blocks 3 and 4, 12 tokens to come
    scheduler.update(scheduler.schedule(), {"high": 60})
    scheduler.running.reverse()
    events.clear()
    output = scheduler.schedule()  # low fills blocks 5 to 7, then high needs a third block
    assert output.scheduled_tokens == {"high": 1}
    assert output.preempted == ["low"]
    assert output.token_budget == 15  # the tokens of low came back
    assert [sequence.request_id for sequence in scheduler.running] == ["high"]
    assert [sequence.request_id for sequence in scheduler.waiting] == ["low"]
    assert Chunk("low", 8, 12) in events
    assert Preempt("low", 8) in events
    # Blocks 5 to 7 were made findable when scheduled, yet never computed.
    assert [block.block_id for block in scheduler.pool.find(low.prefixes)] == [3, 4]
    scheduler.check_integrity()
    scheduler.update(output, {"high": 61})


def test_a_step_that_preempted_admits_nobody():
    scheduler = Scheduler(
        ServingConfig(**small(num_gpu_blocks=6, max_num_seqs=2), scheduling_policy="priority")
    )
    scheduler.add("mid", tuple(range(8)), 8, priority=1)
    scheduler.add("low", tuple(range(20, 31)), 8, priority=2)
    scheduler.update(scheduler.schedule(), {"mid": 50, "low": 60})
    scheduler.add("tiny", (70,), 4, priority=0)
    output = scheduler.schedule()  # mid needs a third block; low gives up three, of which two stay free
    assert output.preempted == ["low"]
    assert output.new == []
    assert [sequence.request_id for sequence in scheduler.waiting] == ["tiny", "low"]
    scheduler.update(output, {"mid": 51})
    assert scheduler.schedule().new == ["tiny"]


def test_a_request_of_lowest_priority_preempts_itself():
    scheduler = Scheduler(ServingConfig(**small(num_gpu_blocks=5), scheduling_policy="priority"))
    scheduler.add("low", tuple(range(8)), 8, priority=2)
    scheduler.add("high", tuple(range(20, 27)), 9, priority=1)
    scheduler.update(scheduler.schedule(), {"low": 50, "high": 60})
    assert [sequence.request_id for sequence in scheduler.running] == ["high", "low"]
    scheduler.running.reverse()
    output = scheduler.schedule()
    assert output.preempted == ["low"]
    assert output.scheduled_tokens == {}  # as in vLLM, the step ends there
    assert scheduler.schedule().scheduled_tokens == {"high": 1}


def test_a_resumed_request_finds_its_own_output_again():
    requests = [Request(range(8), 12, "a"), Request(range(20, 28), 12, "b")]
    s = simulate(requests, **small(num_gpu_blocks=9))
    assert s.metrics.preemptions > 0
    resumed = next(step for step in s.steps if step.resumed)
    (name,) = resumed.resumed
    (metrics,) = (r for r in s.metrics.requests if r.request_id == name)
    assert metrics.hit_tokens > 0
    assert metrics.recomputed_tokens > 0
    assert len(s.outputs[name]) == 12


def test_a_whole_sequence_must_fit_before_it_is_admitted():
    requests = [Request(range(40), 8, "a"), Request(range(100, 140), 8, "b")]
    s = simulate(requests, **small(num_gpu_blocks=20))
    assert all("b" not in step.running for step in s.steps if "a" in step.running)  # 10 of 9 blocks left
    assert s.metrics.preemptions == 0


def test_an_abort_gives_blocks_back_waiting_running_and_in_a_step():
    scheduler = Scheduler(ServingConfig(**small(max_num_seqs=2)))
    for name in "abcd":
        scheduler.add(name, PROMPT, 4)
    output = scheduler.schedule()
    assert scheduler.abort("a")
    assert scheduler.abort("d")
    assert not scheduler.abort("a")
    assert not scheduler.abort("unknown")
    scheduler.check_integrity()
    assert scheduler.update(output, {"b": 1}) == {}
    assert scheduler.schedule().scheduled_tokens == {"b": 1, "c": 4}
    assert scheduler.abort("b")
    assert scheduler.abort("c")
    assert scheduler.pool.num_free_blocks == 19
    scheduler.check_integrity()


def test_a_stopped_request_ends_before_max_tokens():
    scheduler = Scheduler(ServingConfig(**small()))
    scheduler.add("a", PROMPT, 4)
    assert scheduler.update(scheduler.schedule(), {"a": 0}, stopped=["a"]) == {"a": "stop"}
    assert scheduler.pool.num_free_blocks == 19


def test_an_id_that_waits_or_runs_is_refused():
    scheduler = Scheduler(ServingConfig(**small()))
    scheduler.add("a", PROMPT, 4)
    with pytest.raises(ValueError, match="request_id='a'"):
        scheduler.add("a", PROMPT, 4)


def test_the_scheduler_sees_a_lost_reference():
    scheduler = Scheduler(ServingConfig(**small()))
    scheduler.add("a", PROMPT, 4)
    scheduler.schedule()
    scheduler.running[0].block_table.pop()
    with pytest.raises(RuntimeError, match="inconsistent"):
        scheduler.check_integrity()


def test_nobody_is_left_out_when_the_victim_stood_before():
    scheduler = Scheduler(ServingConfig(**small(num_gpu_blocks=7), scheduling_policy="priority"))
    for name, length, priority in (("high", 8, 0), ("mid", 7, 1), ("low", 7, 2)):
        scheduler.add(name, tuple(range(100 * priority, 100 * priority + length)), 8, priority)
    scheduler.update(scheduler.schedule(), {"high": 50, "mid": 60, "low": 70})
    scheduler.running.insert(0, scheduler.running.pop())
    output = scheduler.schedule()
    assert output.preempted == ["low"]
    assert output.scheduled_tokens == {"high": 1, "mid": 1}
