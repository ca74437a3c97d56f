"""`Engine.roofline`: which steps it runs, what it refuses; times are real and never asserted."""

import pytest
import torch

from llmwidgets.engine import Engine
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.flops import WorkCounter
from llmwidgets.records.record import load_record
from llmwidgets.records.roofline import Ceilings

CEILINGS = Ceilings("a desk", "float32", 1, 1e11, 2e10)


@pytest.fixture
def sweep(engine):
    return engine.roofline(prompt_lengths=(4, 20), batch_sizes=(3, 1), context=17, ceilings=CEILINGS)


def test_the_steps_that_were_asked_for_ran(sweep):
    told = [(p.phase, p.batch_size, p.num_tokens, p.context, p.label) for p in sweep.points]
    assert told == [
        ("prefill", 1, 4, 0, "T=4"),
        ("prefill", 1, 20, 0, "T=20"),
        ("decode", 1, 1, 17, "B=1"),
        ("decode", 3, 3, 17, "B=3"),
    ]
    assert all(0 < p.seconds <= p.wall_seconds for p in sweep.points)
    assert not sweep.modelled


def test_points_carry_the_counted_work(engine, sweep):
    counter = WorkCounter(engine.model, engine.layers)
    work = counter.count([Chunk([1], 17)] * 3)
    point = sweep.points[-1]
    assert (point.linear_flops, point.attention_flops) == (work.linear_flops, work.attention_flops)
    assert point.weight_bytes == work.weight_bytes
    assert point.kv_read_bytes == 3 * 18 * engine.kv_shape.bytes_per_token
    assert point.kv_written_bytes == 3 * engine.kv_shape.bytes_per_token
    assert point.nbytes == point.weight_bytes + point.kv_read_bytes + point.kv_written_bytes
    assert sweep.parameter_bytes == sum(p.untyped_storage().nbytes() for p in engine.model.parameters())


def test_decode_steps_compute_what_generate_computes(engine, monkeypatch):
    """The cache is filled before: logits of a decode step equal those of a whole forward."""
    seen = []
    run = engine.forward.run
    monkeypatch.setattr(engine.forward, "run", lambda batch: seen.append((batch, run(batch))) or seen[-1][1])
    engine.roofline(prompt_lengths=[1], batch_sizes=[3], context=17, ceilings=CEILINGS)
    batch, logits = seen[-1]
    context = [(3 + 7 * i) % 258 for i in range(17)]
    for row, token_id in enumerate(batch.token_ids.tolist()):
        assert (logits[row] - engine.forward.plain([*context, token_id])[-1]).abs().max() < 5e-5


def test_ceilings_are_measured_unless_given(engine, sweep):
    assert sweep.ceilings is CEILINGS
    measured = engine.roofline(prompt_lengths=[2], batch_sizes=[1], context=1).ceilings
    assert measured.dtype == "float32"
    assert measured.threads == torch.get_num_threads()
    assert measured.flops_per_second > measured.bytes_per_second > 1e8


def test_the_record_saves_and_loads(sweep, tmp_path):
    sweep.save(tmp_path / "sweep")
    loaded = load_record(tmp_path / "sweep")
    assert loaded.points == sweep.points
    assert loaded.ceilings.flops_per_second == 1e11


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt_lengths": (257,)}, r"prompt_lengths holds 257; allowed are integers from 1 to 256"),
        ({"batch_sizes": (0, 1)}, r"batch_sizes holds 0; allowed are integers from 1"),
        ({"batch_sizes": ()}, "batch_sizes is empty"),
        ({"context": 256}, r"context holds 256; allowed are integers from 1 to 255"),
        ({"context": True}, "context holds True"),
    ],
)
def test_what_is_out_of_reach_is_refused(engine, bad, message):
    with pytest.raises(ValueError, match=message):
        engine.roofline(**bad)


def test_a_count_that_pytorch_does_not_share_is_refused(engine, monkeypatch):
    monkeypatch.setattr("llmwidgets.engine.flops.flops_by_torch", lambda forward, token_ids: 1)
    with pytest.raises(ValueError, match="cannot be put under a roofline"):
        engine.roofline(ceilings=CEILINGS)


def test_a_model_that_runs_one_sequence_at_a_time_is_refused(make_model):
    with pytest.raises(ValueError, match="runs on the compatible path, one sequence at a time"):
        Engine(make_model("gptj")).roofline()
