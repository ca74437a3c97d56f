"""The packed events of a `Serving`: every event a row, and a longer record costs only its new steps."""

import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.scheduling.serving_run import ServingRun
from llmwidgets.widgets.serving_wire import KINDS, ServingPacker
from tests.widgets.serving_runs import serving, snapshots


@pytest.fixture(scope="module")
def record():
    return serving()


def test_a_row_an_event_five_integers_a_row(record):
    wire = ServingPacker(record).wire()
    events = [
        event
        for step in record.log
        for event in step.events
        if type(event).__name__ not in ("Chunk", "Batch")
    ]
    assert wire["rows"].shape == (len(events), 5)
    assert wire["rows"].dtype == np.int32
    names = [wire["kinds"][kind] for kind in wire["rows"][:, 0]]
    assert names == [type(event).__name__ for event in events]
    assert {"Allocate", "Share", "Fill", "Cache", "Evict", "Free", "Preempt", "Resume", "Finish"} <= {*names}
    assert wire["first_rows"][-1] == len(events)


def test_the_tokens_are_prompts_and_outputs(record):
    wire = ServingPacker(record).wire()
    for number, request in enumerate(record.requests):
        start, stop = wire["token_offsets"][number : number + 2]
        assert tuple(wire["tokens"][start:stop]) == request.prompt + record.outputs[request.request_id]


def test_a_longer_record_is_packed_from_where_the_shorter_ended(record):
    *shorter, whole = snapshots(record)
    packer = ServingPacker(shorter[0])
    for longer in [*shorter[1::3], whole, whole]:
        assert packer.continues(longer)
        packer.extend(longer)
    fresh, grown = ServingPacker(whole).wire(), packer.wire()
    for name, value in fresh.items():
        np.testing.assert_array_equal(grown[name], value)
    assert not packer.continues(shorter[5])  # shorter
    assert not packer.continues(serving(num_gpu_blocks=64))


def test_events_that_an_abort_adds_to_the_last_step_are_packed_too(record):
    run = ServingRun(record.requests, record.config)
    for _ in range(20):
        output = run.begin_step()
        run.end_step(dict.fromkeys(output.to_sample, 7))
    packer = ServingPacker(run.snapshot())
    ended = run.serving()  # aborts what still runs
    packer.extend(ended)
    assert "Abort" in [KINDS[kind].__name__ for kind in packer.wire()["rows"][:, 0]]
    np.testing.assert_array_equal(packer.wire()["rows"], ServingPacker(ended).wire()["rows"])


def test_a_token_id_beyond_32_bits_is_refused():
    record = lw.simulate([lw.Request([1, 2**40], 4)])
    with pytest.raises(ValueError, match=f"token id {2**40} is not allowed; allowed are 32-bit integers"):
        lw.KVCacheGrid(record)
