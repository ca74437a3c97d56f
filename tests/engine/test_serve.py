"""`serve`: the tokens of `model.generate`, whatever the knobs; vLLM's steps; nothing leaks."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

import llmwidgets as lw
from llmwidgets.engine import Engine
from llmwidgets.engine.sampling import Sampler
from llmwidgets.engine.serve import ServingIterator

KNOBS: dict[str, Any] = {
    "block_size": 4,
    "num_gpu_blocks": 200,
    "max_num_seqs": 8,
    "max_num_batched_tokens": 48,
}


def mixed(count: int = 32, seed: int = 0) -> list[lw.Request]:
    """Return prompts of which some begin alike, with arrivals spread over the run."""
    draw = random.Random(seed)
    shared = [draw.randrange(256) for _ in range(13)]
    requests = []
    for i in range(count):
        own = [draw.randrange(256) for _ in range(draw.randint(1, 40))]
        prompt = shared + own if i % 3 == 0 else own
        requests.append(lw.Request(prompt, draw.randint(1, 30), f"r{i}", arrival=draw.randint(0, 40)))
    return requests


def by_generate(model: Any, request: lw.Request) -> tuple[int, ...]:
    prompt = torch.tensor([request.prompt])
    tokens = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),  # else a token equal to the padding would be masked
        max_new_tokens=request.max_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    return tuple(tokens[0, prompt.shape[1] :].tolist())


@pytest.fixture(scope="module")
def expected(engine: Engine) -> dict[str, tuple[int, ...]]:
    """What `model.generate` says, one request at a time."""
    outputs = {str(r.request_id): by_generate(engine.model, r) for r in mixed()}
    assert len({token for output in outputs.values() for token in output}) >= 12
    return outputs


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"block_size": 1},
        {"block_size": 16, "num_gpu_blocks": 40},
        {"max_num_batched_tokens": 8},
        {"max_num_batched_tokens": 500, "max_num_seqs": 32},
        {"max_num_seqs": 1},
        {"num_gpu_blocks": 24},
        {"num_gpu_blocks": 24, "enable_prefix_caching": False},
        {"num_gpu_blocks": 24, "scheduling_policy": "priority"},
        {"enable_prefix_caching": False},
        {"enable_chunked_prefill": False, "max_num_batched_tokens": 90},
        {"batching": "static"},
        {"batching": "none"},
        {"cache": "contiguous_max", "max_model_len": 90},
        {"cache": "contiguous_pow2", "batching": "static"},
    ],
    ids=str,
)
def test_tokens_are_those_of_generate(
    engine: Engine, expected: dict[str, tuple[int, ...]], knobs: dict[str, Any]
) -> None:
    requests = [replace(r, priority=i % 3) for i, r in enumerate(mixed())]
    s = engine.serve(requests, **(KNOBS | knobs))
    assert s.outputs == expected
    if knobs.get("num_gpu_blocks") == 24:
        assert s.metrics.preemptions >= 10


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_the_order_of_a_batch_changes_no_token(
    engine: Engine, expected: dict[str, tuple[int, ...]], order: str
) -> None:
    requests = [replace(r, arrival=0) for r in reversed(mixed())]
    if order == "shuffled":
        random.Random(1).shuffle(requests)
    assert engine.serve(requests, **KNOBS).outputs == expected


def test_logits_are_those_of_a_plain_forward(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = mixed(12)
    seen: dict[str, list[torch.Tensor]] = {}
    choose = ServingIterator._choose

    def keep(self: ServingIterator, names: list[str], logits: torch.Tensor) -> dict[str, int]:
        for name, row in zip(names, logits, strict=True):
            seen.setdefault(name, []).append(row.clone())
        return choose(self, names, logits)

    monkeypatch.setattr(ServingIterator, "_choose", keep)
    s = engine.serve(requests, **(KNOBS | {"num_gpu_blocks": 24, "max_num_batched_tokens": 16}))
    assert s.metrics.preemptions
    worst = 0.0
    for request in s.requests:
        name = str(request.request_id)
        sequence = [*request.prompt, *s.outputs[name]]
        with torch.inference_mode():
            plain = engine.model(torch.tensor([sequence[:-1]])).logits[0, len(request.prompt) - 1 :]
        worst = max(worst, float((torch.stack(seen[name]) - plain).abs().max()))
    assert worst <= 5e-5


@pytest.mark.parametrize(
    "knobs", [{}, {"num_gpu_blocks": 24}, {"batching": "static"}, {"cache": "contiguous_pow2"}], ids=str
)
def test_simulate_with_the_same_tokens_takes_the_same_steps(engine: Engine, knobs: dict[str, Any]) -> None:
    knobs = KNOBS | knobs
    s = engine.serve(mixed(), **knobs)
    t = lw.simulate(s.requests, s.outputs, max_model_len=s.config.max_model_len, **knobs)
    assert len(s.steps) == len(t.steps)
    untimed = {"cpu_seconds": None, "wall_seconds": None}
    assert all(replace(a, **untimed) == b for a, b in zip(s.steps, t.steps, strict=True))
    assert (s.metrics.unit, t.metrics.unit) == ("seconds", "steps")


def test_sampling_is_that_of_generate_and_children_have_seeds_of_their_own(engine: Engine) -> None:
    sampling = {"temperature": 0.9, "top_p": 0.95, "min_p": 0.01, "repetition_penalty": 1.1}
    requests = [replace(r, seed=i) for i, r in enumerate(mixed(10))] + [lw.Request([5] * 9, 12, "many", n=3)]
    s = engine.serve(requests, seed=7, **sampling, **KNOBS)
    for request in s.requests:
        for index, name in enumerate(request.sequence_ids):
            seed = (7 if request.seed is None else request.seed) + index
            alone = engine.generate(request.prompt, max_tokens=request.max_tokens, seed=seed, **sampling)
            assert s.outputs[name] == alone.token_ids
    assert len({s.outputs[f"{i}_many"] for i in range(3)}) == 3


def test_a_request_s_own_arguments_win(engine: Engine) -> None:
    s = engine.serve([lw.Request("abc", 3), lw.Request("abc"), lw.Request("abc", temperature=1.0)],
                     max_tokens=6, temperature=0.0, seed=3, **KNOBS)  # fmt: skip
    assert [len(output) for output in s.outputs.values()] == [3, 6, 6]
    assert s.outputs["r0"] == s.outputs["r1"][:3]
    assert s.outputs["r2"] == engine.generate("abc", max_tokens=6, temperature=1.0, seed=3).token_ids


def test_stop_strings_and_end_tokens_end_a_request(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.generate("hello", max_tokens=12)
    monkeypatch.setattr(engine, "eos_token_ids", frozenset([whole.token_ids[4]]))
    first = whole.token_ids.index(whole.token_ids[4])
    s = engine.serve([lw.Request("hello", 12), lw.Request("hello", 12, ignore_eos=True)], **KNOBS)
    assert s.outputs["r0"] == whole.token_ids[: first + 1]
    assert s.outputs["r1"] == whole.token_ids
    assert {n: r for step in s.steps for n, r in step.finish.items()} == {"r0": "stop", "r1": "length"}
    text = bytes(token for token in whole.token_ids[:6] if token < 256).decode("utf-8", "ignore")
    if text:
        stopped = engine.serve([lw.Request("hello", 12, stop=text[-1], ignore_eos=True)], **KNOBS)
        assert stopped.outputs["r0"] == engine.generate("hello", 12, stop=text[-1], ignore_eos=True).token_ids


def test_an_aborted_request_leaves_its_blocks_and_nobody_else_notices(
    engine: Engine, expected: dict[str, tuple[int, ...]]
) -> None:
    steps = engine.serve_steps(mixed(), **KNOBS)
    for step in steps:
        if step.step == 12:
            assert steps.abort("r3")
            assert not steps.abort("nobody")
    s = steps.serving()
    assert s.outputs["r3"] == expected["r3"][: len(s.outputs["r3"])]
    assert len(s.outputs["r3"]) < len(expected["r3"])
    assert {name: out for name, out in s.outputs.items() if name != "r3"} == {
        name: out for name, out in expected.items() if name != "r3"
    }
    assert steps.num_free_blocks == KNOBS["num_gpu_blocks"] - 1
    assert [r.finish_reason for r in s.metrics.requests if r.request_id == "r3"] == ["abort"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["forward", "sampling"])
def test_what_goes_wrong_in_a_step_leaves_all_blocks_free_and_the_engine_usable(
    engine: Engine,
    expected: dict[str, tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    where: str,
) -> None:
    steps = engine.serve_steps(mixed(), temperature=1.0, **KNOBS)
    for _ in range(9):
        next(steps)

    def fail(*_: Any) -> None:
        raise error("now")

    with monkeypatch.context() as patch:
        patch.setattr(*((engine.forward, "run") if where == "forward" else (Sampler, "__call__")), fail)
        with pytest.raises(error):
            next(steps)
    assert steps.num_free_blocks == KNOBS["num_gpu_blocks"] - 1
    with pytest.raises(StopIteration):
        next(steps)
    partial = steps.serving()
    assert len(partial.log) == 10
    assert partial.steps[-1].free_blocks < KNOBS["num_gpu_blocks"] - 1
    assert engine.serve(mixed(), **KNOBS).outputs == expected


def test_a_snapshot_is_the_beginning_of_the_whole(engine: Engine, tmp_path: Any) -> None:
    steps = engine.serve_steps(mixed(), **KNOBS)
    for _ in range(15):
        next(steps)
    part = steps.serving()
    for _ in steps:
        pass
    whole = steps.serving()
    assert part.log == whole.log[:15]
    assert all(whole.outputs[name][: len(output)] == output for name, output in part.outputs.items())
    whole.save(tmp_path / "run")
    again = lw.load_record(tmp_path / "run")
    assert again.outputs == whole.outputs
    assert all(a == b for a, b in zip(again.steps, whole.steps, strict=True))
    assert again.kv_shape == engine.kv_shape


def test_folding_the_events_gives_back_every_token(engine: Engine) -> None:
    s = engine.serve(mixed(), **(KNOBS | {"num_gpu_blocks": 24}))
    sequences = {str(r.request_id): [*r.prompt, *s.outputs[str(r.request_id)]] for r in s.requests}
    for step in s.steps:
        tokens = {block.block_id: block.token_ids for block in step.blocks}
        for name, table in step.block_tables.items():
            held = [token for block_id in table for token in tokens[block_id]]
            computed = step.computed_after[name]
            assert held[:computed] == sequences[name][:computed]


@pytest.mark.parametrize(
    ("requests", "knobs", "message"),
    [
        (["hello"], {}, "requests\\[0\\]='hello' is not allowed; allowed is a Request"),
        ([lw.Request([1], 2), lw.Request([1], 2, "r0")], {}, "is taken: ids must differ"),
        ([lw.Request([999], 2)], {}, "token id 999; allowed are 0 to 257"),
        ([lw.Request([1] * 250, 20)], {}, "max_tokens=20; together at most max_model_len=256"),
        ([lw.Request([1] * 50, 20)], {"num_gpu_blocks": 9}, "at most 32"),
        ([lw.Request([1], 2)], {"max_model_len": 300}, "max_model_len=300 .* at most the engine's 256"),
        ([lw.Request([1], 2)], {"temperatur": 1}, "temperatur=1 is not a knob"),
        ([lw.Request([1], 2)], {"temperature": -1}, "temperature=-1 is not allowed"),
        ([lw.Request([1], 2, top_p=2.0)], {}, "top_p=2.0 is not allowed"),
        ([lw.Request([1], 2)], {"record": "all"}, "record='all'"),
        ([lw.Request([1], 2)], {"max_num_batched_tokens": 4}, "at least max_num_seqs=8"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, requests: Any, knobs: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(engine.forward, "run", lambda batch: pytest.fail("the model ran"))
    with pytest.raises(ValueError, match=message):
        engine.serve(requests, **(KNOBS | knobs))


def test_a_summary_keeps_outputs_and_metrics_only(
    engine: Engine, expected: dict[str, tuple[int, ...]]
) -> None:
    s = engine.serve(mixed(), record="summary", **KNOBS)
    assert s.outputs == expected
    assert len(s.steps) == 0
    assert s.metrics.output_tokens == sum(map(len, expected.values()))
