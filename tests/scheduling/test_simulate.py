"""`lw.simulate`: refusals, outputs, metrics, summaries, saving; and that it needs no torch."""

import gc
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.serving_run import ServingRun

KNOBS = {"block_size": 4, "num_gpu_blocks": 20, "max_num_seqs": 4, "max_num_batched_tokens": 32}


@pytest.mark.parametrize(
    ("request_fields", "knobs", "message"),
    [
        ({}, {"max_num_batched_tokens": 3}, "max_num_batched_tokens=3 .* at least max_num_seqs=4"),
        ({}, {"num_gpu_blocks": 1}, "num_gpu_blocks=1 .* at least 2"),
        ({}, {"block_size": 0}, "block_size=0 .* at least 1"),
        ({}, {"max_num_seqs": True}, "max_num_seqs=True .* an integer of at least 1"),
        ({}, {"max_num_seqs": 2.5}, "max_num_seqs=2.5 .* an integer"),
        ({}, {"scheduling_policy": "sjf"}, "scheduling_policy='sjf' .* 'fcfs' or 'priority'"),
        ({}, {"enable_prefix_caching": 1}, "enable_prefix_caching=1 .* True or False"),
        ({}, {"max_model_len": 11}, "4 \\+ 8 = 12 of request 'a' .* at most 11, max_model_len"),
        ({"max_tokens": 73}, {}, "4 \\+ 73 = 77 .* at most 76, the pool's"),
        ({"max_tokens": 29}, {"enable_chunked_prefill": False}, "= 33 .* at most 32, max_num_batched_tokens"),
        ({}, {"blocksize": 4}, "blocksize=4 is not a knob; knobs are block_size, "),
        ({}, {"record": "all"}, "record='all' .* 'steps' or 'summary'"),
        ({"prompt": "text"}, {}, "prompt='text' of request 'a' .* token ids"),
        ({}, {"outputs": {"b": 3}}, "outputs has 'b', which is no request's id; ids are a"),
        ({}, {"outputs": {"a": 9}}, "outputs\\['a'\\] has 9 tokens.* at most max_tokens=8"),
        ({}, {"outputs": {"a": []}}, "len\\(outputs\\['a'\\]\\)=0 .* at least 1"),
        ({"max_tokens": None}, {}, "request 'a' has neither max_tokens nor an entry in outputs"),
    ],
)
def test_what_cannot_run_is_refused_with_name_value_and_limit(request_fields, knobs, message):
    request = replace(lw.Request((1, 2, 3, 4), 8, "a"), **request_fields)
    with pytest.raises(ValueError, match=message):
        lw.simulate([request], **(KNOBS | knobs))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arrival": -1}, "arrival=-1 .* at least 0"),
        ({"max_tokens": 0}, "max_tokens=0 .* at least 1"),
        ({"n": 0}, "n=0 .* at least 1"),
        ({"prompt": []}, "prompt=\\(\\) .* at least one token"),
        ({"prompt": ""}, "prompt='' .* at least one token"),
        ({"prompt": [1.5]}, "prompt=\\[1.5\\] .* text or token ids"),
        ({"prompt": 3}, "prompt=3 .* text or token ids"),
        ({"request_id": ""}, "request_id='' .* non-empty"),
        ({"priority": 0.5}, "priority=0.5 .* an integer"),
    ],
)
def test_a_request_refuses_what_its_fields_do_not_allow(fields, message):
    with pytest.raises(ValueError, match=message):
        lw.Request(**({"prompt": [1]} | fields))


@pytest.mark.parametrize(
    "requests",
    [
        [lw.Request([1], 1, "a"), lw.Request([2], 1, "a")],
        [lw.Request([1], 1, "a", n=2), lw.Request([2], 1, "1_a")],
        [lw.Request([1], 1, "r1"), lw.Request([2], 1)],
    ],
)
def test_equal_ids_are_refused(requests):
    with pytest.raises(ValueError, match="is taken: ids must differ"):
        lw.simulate(requests, **KNOBS)


def test_the_largest_request_that_is_allowed_finishes():
    for knobs in ({}, {"max_model_len": 76}, {"max_num_batched_tokens": 76, "enable_chunked_prefill": False}):
        s = lw.simulate([lw.Request([1] * 40, 36)] * 1 + [lw.Request([2] * 40, 36)], **(KNOBS | knobs))
        assert [len(output) for output in s.outputs.values()] == [36, 36]
        assert s.steps[-1].finish


def test_no_requests_make_an_empty_record(tmp_path):
    s = lw.simulate([], **KNOBS)
    assert (len(s.steps), s.outputs, s.metrics.throughput, len(s.metrics.itl)) == (0, {}, 0.0, 0)
    s.save(tmp_path / "s")
    assert repr(lw.load_record(tmp_path / "s")) == repr(s)


def test_outputs_are_tokens_or_lengths_and_short_ones_stop():
    requests = [lw.Request([1, 2], 5, "a"), lw.Request([1, 2], None, "b"), lw.Request(np.arange(3), 4, "c")]
    s = lw.simulate(requests, {"a": (7, 8), "b": np.array([4, 5, 6])}, **KNOBS)
    assert s.outputs["a"] == (7, 8)
    assert s.outputs["b"] == (4, 5, 6)
    assert len(set(s.outputs["c"])) == 1
    assert s.outputs["c"][0] < 0
    assert {name: reason for step in s.steps for name, reason in step.finish.items()} == {
        "a": "stop",
        "b": "length",
        "c": "length",
    }
    assert [request.max_tokens for request in s.requests] == [5, 3, 4]


def test_times_are_counted_in_steps():
    requests = [lw.Request([1] * 4, 3, "a", arrival=2), lw.Request([2] * 4, 2, "b", arrival=3)]
    s = lw.simulate(requests, **(KNOBS | {"max_num_seqs": 1}))
    a, b = s.metrics.requests
    assert s.metrics.unit == "steps"
    assert [step.iteration for step in s.steps] == [2, 3, 4, 5, 6]
    assert (a.arrived, a.admitted, list(a.token_times), a.ttft, a.tpot) == (2, 2, [3, 4, 5], 1, 1)
    assert (b.queue_time, b.ttft, list(b.itl), b.latency) == (2, 3, [1], 4)
    assert (s.metrics.duration, s.metrics.num_steps, s.metrics.throughput) == (7, 5, 5 / 7)
    assert s.metrics.goodput(ttft=2, tpot=1) == 1 / 7
    assert list(s.metrics.num_waiting) == [0, 1, 1, 0, 0]
    assert list(s.metrics.unfilled_slots) == [0, 3, 2, 0, 3]


def test_a_summary_has_the_metrics_and_outputs_of_the_full_record():
    requests = lw.workload("chat", 24, vocab_size=50, rate=2.0)
    full = lw.simulate(requests, **(KNOBS | {"num_gpu_blocks": 60}))
    short = lw.simulate(requests, record="summary", **(KNOBS | {"num_gpu_blocks": 60}))
    assert short.log == ()
    assert len(short.steps) == 0
    assert short.outputs == full.outputs
    assert repr(short.metrics) == repr(full.metrics)
    assert full.metrics.preemptions > 0
    for mine, theirs in zip(short.metrics.requests, full.metrics.requests, strict=True):
        assert repr(mine) == repr(theirs)
    steps = list(full.steps)
    assert [sum(step.scheduled_tokens.values()) for step in steps] == list(short.metrics.scheduled_tokens)
    assert [step.free_blocks for step in steps] == list(short.metrics.free_blocks)
    assert np.allclose([step.usage for step in steps], short.metrics.usage)
    unfilled = [
        sum(len(table) * 4 - step.computed_after[r] for r, table in step.block_tables.items())
        for step in steps
    ]
    assert unfilled == list(short.metrics.unfilled_slots)
    computed = sum(short.metrics.scheduled_tokens)
    needed = sum(len(r.prompt) + r.max_tokens - 1 for r in requests)
    assert computed == needed - short.metrics.hit_tokens + sum(
        event.computed_tokens for step in steps for event in step.events if type(event).__name__ == "Preempt"
    )


def test_steps_are_the_same_in_any_order_and_after_save_and_load(tmp_path):
    requests = [*lw.workload("rag", 12, vocab_size=50), lw.Request(range(30), 9, "n", n=3)]
    s = lw.simulate(requests, **(KNOBS | {"num_gpu_blocks": 50}))
    s.save(tmp_path / "s")
    loaded = lw.load_record(tmp_path / "s")
    forwards = list(s.steps)
    assert list(loaded.steps) == forwards
    assert [s.steps[i] for i in range(len(forwards) - 1, -1, -1)] == forwards[::-1]
    assert s.steps[-1] == forwards[-1]
    assert s.steps[3:5] == tuple(forwards[3:5])
    with pytest.raises(IndexError, match=f"the run has {len(forwards)} steps"):
        s.steps[len(forwards)]
    tokens = {name: list(r.prompt) for r in s.requests for name in r.sequence_ids}
    for step in loaded.steps:  # every token lies where its table says
        contents = {block.block_id: block.token_ids for block in step.blocks}
        for name, table in step.block_tables.items():
            held = [token for block_id in table for token in contents[block_id]]
            assert held == tokens[name][: step.computed_after[name]]
        for name, sampled in step.sampled.items():
            tokens[name].extend(sampled)
    assert {name: tuple(tokens[name][-len(o) :]) for name, o in s.outputs.items()} == s.outputs


def test_an_abort_is_in_the_record_and_all_blocks_come_back(tmp_path):
    run = ServingRun([lw.Request([1] * 9, 9, name) for name in "abc"], ServingConfig(**KNOBS))
    output = run.begin_step()
    run.end_step(dict.fromkeys(output.to_sample, 5))
    assert run.abort("a")
    assert not run.abort("x")
    output = run.begin_step()
    assert run.abort("b")
    assert run.end_step(dict.fromkeys(output.to_sample, 6)) == {}
    assert run.steps[1].finished_before == ("a",)
    s = run.serving()
    assert run.scheduler.pool.num_free_blocks == 19
    assert s.outputs == {"a": (5,), "b": (5,), "c": (5, 6)}
    assert [r.finish_reason for r in s.metrics.requests] == ["abort"] * 3
    s.save(tmp_path / "s")
    assert list(lw.load_record(tmp_path / "s").steps) == list(s.steps)


def test_closing_in_the_middle_of_a_step_keeps_the_record_whole():
    run = ServingRun([lw.Request([1] * 9, 9, "a")], ServingConfig(**KNOBS))
    run.begin_step()
    run.close()
    assert run.scheduler.pool.num_free_blocks == 19
    assert run.begin_step() is None
    assert run.serving().steps[0].scheduled_tokens == {"a": 9}


def test_a_timed_run_counts_in_seconds():
    run = ServingRun([lw.Request([1] * 9, 2, "a")], ServingConfig(**KNOBS), timed=True)
    for seconds in (0.5, 0.25):
        output = run.begin_step()
        run.end_step(dict.fromkeys(output.to_sample, 5), wall_seconds=seconds, cpu_seconds=0.1)
    assert run.begin_step() is None
    s = run.serving()
    assert s.metrics.unit == "seconds"
    assert list(s.metrics.requests[0].token_times) == [0.5, 0.75]
    assert [step.wall_seconds for step in s.steps] == [0.5, 0.25]


def test_an_event_takes_less_than_200_bytes():
    requests = lw.workload("chat", 32, vocab_size=50)
    lw.simulate(requests, num_gpu_blocks=200)  # what is made once
    gc.collect()
    tracemalloc.start()
    s = lw.simulate(requests, num_gpu_blocks=200)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / sum(len(step.events) for step in s.log) < 200


@pytest.mark.parametrize("kind", ["chat", "rag", "batch", "code"])
def test_a_workload_is_seeded_and_served(kind):
    requests = lw.workload(kind, 16, vocab_size=100, seed=3)
    assert requests == lw.workload(kind, 16, vocab_size=100, seed=3)
    assert requests != lw.workload(kind, 16, vocab_size=100, seed=4)
    assert [r.arrival for r in requests] == sorted(r.arrival for r in requests)
    s = lw.simulate(requests, num_gpu_blocks=400)
    assert len(s.outputs) == 16
    assert (s.metrics.hit_tokens > 0) == (kind != "batch")
    assert all(isinstance(r.prompt, str) and r.prompt for r in lw.workload(kind, 4))


def test_a_workload_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"kind='video' .* chat, rag, batch, code"):
        lw.workload("video")
    with pytest.raises(ValueError, match="rate=-1"):
        lw.workload("chat", rate=-1)
    with pytest.raises(ValueError, match="scale=0"):
        lw.workload("chat", scale=0)


def test_simulate_needs_neither_torch_nor_a_notebook():
    code = (
        "import sys, llmwidgets as lw\n"
        "s = lw.simulate(lw.workload('chat', 4, vocab_size=9)); list(s.steps); repr(s.metrics)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    loaded = set(done.stdout.split())
    assert "llmwidgets" in loaded
    assert not loaded & {"torch", "transformers", "safetensors", "bitsandbytes", "anywidget", "ipywidgets"}
