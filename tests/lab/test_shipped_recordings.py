"""Recordings of vLLM as records: what they draw is what a run of the same schedule draws."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.lab.recordings import Recording, load_recording, load_recordings
from llmwidgets.records.record import load_record
from llmwidgets.records.schedule import first_difference, scheduled_steps
from llmwidgets.records.serving import Serving

NAMES = ["steady", "prefix", "pressure", "pressure_nocache", "long_prompt"]
BY_STEP = ["scheduled_tokens", "num_running", "num_waiting", "free_blocks", "unfilled_slots"]


@cache
def recorded(name: str) -> Recording:
    return load_recording(name)


@cache
def simulated(name: str) -> Serving:
    recording = recorded(name)
    return lw.simulate(recording.requests, recording.outputs, **asdict(recording.config))


def test_all_recordings_are_there_and_an_unknown_one_is_named() -> None:
    assert list(load_recordings()) == NAMES
    with pytest.raises(ValueError, match="there is no recording 'stedy'; there are steady, prefix"):
        load_recording("stedy")


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_folds_to_its_own_steps(name: str) -> None:
    recording = recorded(name)
    for folded, raw in zip(scheduled_steps(recording.serving), recording.steps, strict=True):
        assert folded == raw


@pytest.mark.parametrize("name", NAMES)
def test_its_queues_and_figures_are_those_of_a_simulated_run(name: str) -> None:
    mine, other = recorded(name).serving, simulated(name)
    assert first_difference(mine, other) is None
    assert mine.outputs == other.outputs
    assert repr(mine.metrics) == repr(other.metrics)
    assert mine.metrics.duration == other.metrics.duration
    for field in BY_STEP:
        assert (getattr(mine.metrics, field) == getattr(other.metrics, field)).all(), field
    for one, its in zip(mine.metrics.requests, other.metrics.requests, strict=True):
        assert repr(one) == repr(its)
        assert np.array_equal(one.token_times, its.token_times)


def test_a_recording_is_a_record_that_can_be_saved(tmp_path) -> None:
    serving = recorded("pressure").serving
    serving.save(tmp_path / "vllm.zip")
    assert first_difference(load_record(tmp_path / "vllm.zip"), serving) is None
