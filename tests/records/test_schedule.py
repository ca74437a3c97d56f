"""The queues of a run without its blocks, and the first difference of two, against the fold of all events."""

from functools import cache
from itertools import zip_longest

import pytest

import llmwidgets as lw
from llmwidgets.records.record import load_record
from llmwidgets.records.schedule import ScheduleDifference, first_difference, scheduled_steps
from llmwidgets.scheduling.scheduler import Scheduler
from tests.served_runs import KNOBS, NAMES, SIMULATED, chat, served


@cache
def steps_of(name):
    return tuple(served(name).steps)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_that_of_the_whole_fold(name):
    serving = served(name)
    found = list(scheduled_steps(serving))
    assert len(found) == len(serving.log) > 0
    for mine, whole in zip(found, steps_of(name), strict=True):
        for field in ("step", "preempted", "running", "waiting", "idle"):
            assert getattr(mine, field) == getattr(whole, field), (mine.step, field)
        assert list(mine.scheduled_tokens.items()) == list(whole.scheduled_tokens.items())
        assert mine.cached_tokens.keys() == {*(new.id for new in whole.new), *whole.resumed}
        assert all(mine.cached_tokens[new.id] == new.cached_tokens for new in whole.new)
        assert mine.num_sampled == {name: len(tokens) for name, tokens in whole.sampled.items()}


def by_brute_force(mine, other):
    """Return step, request, what and both values of the first difference, from the steps themselves."""
    for step, (left, right) in enumerate(zip_longest(mine, other)):
        if left is None or right is None:
            return step, "steps", len(mine), len(other)
        for what in ("preempted", "scheduled_tokens", "running", "waiting"):
            here, there = getattr(left, what), getattr(right, what)
            for name in [*there, *here]:
                if what == "scheduled_tokens":
                    values = here.get(name), there.get(name)
                else:
                    values = tuple(queue.index(name) if name in queue else None for queue in (here, there))
                if values[0] != values[1]:
                    return step, what, *values, name
    return None


RUNS = [name for name in NAMES if name in SIMULATED]


@pytest.mark.parametrize("mine", RUNS)
@pytest.mark.parametrize("other", RUNS)
def test_the_first_difference_is_that_of_brute_force(mine, other):
    found = first_difference(served(mine), served(other))
    expected = by_brute_force(steps_of(mine), steps_of(other))
    if expected is None:
        assert found is None
        assert mine == other
    else:
        values = (found.step, found.what, found.mine, found.other, found.request_id)
        assert values[: len(expected)] == expected


def test_knobs_that_change_nothing_make_no_difference():
    slack = lw.simulate(chat(), **(KNOBS | {"max_model_len": 500}))
    assert first_difference(slack, served("preempted")) is None


def first_in_the_queue_goes(scheduler):
    return scheduler.running[0]


@pytest.mark.parametrize(
    "knob", [{"max_num_seqs": 5}, {"max_num_batched_tokens": 31}, {"num_gpu_blocks": 39}]
)
def test_each_knob_that_binds_is_seen(knob):
    changed = lw.simulate(chat(), **(KNOBS | knob))
    found = first_difference(changed, served("preempted"))
    expected = by_brute_force(changed.steps, steps_of("preempted"))
    assert (found.step, found.what, found.mine, found.other, found.request_id) == expected


def test_a_wrong_victim_is_seen_at_the_first_preemption(monkeypatch):
    right = served("preempted")
    monkeypatch.setattr(Scheduler, "_victim", first_in_the_queue_goes)
    found = first_difference(lw.simulate(chat(), **KNOBS), right)
    first = next(step for step in right.steps if step.preempted)
    assert (found.step, found.what) == (first.step, "preempted")
    assert found.request_id == first.preempted[0]
    assert found.to_text() == f"Step {first.step}, {first.preempted[0]}: not preempted instead of preempted."


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        ((3, "a", "scheduled_tokens", 1, 8), "Step 3, a: 1 token scheduled instead of 8 tokens scheduled."),
        ((3, "a", "scheduled_tokens", None, 8), "Step 3, a: not scheduled instead of 8 tokens scheduled."),
        (
            (3, "a", "running", 2, 0),
            "Step 3, a: place 2 of running instead of place 0 of running.",
        ),
        ((3, "a", "waiting", None, 0), "Step 3, a: not waiting instead of place 0 of waiting."),
        ((3, "a", "steps", 3, 9), "Step 3, a: a run of 3 steps instead of a run of 9 steps."),
    ],
)
def test_a_difference_says_itself(difference, text):
    assert ScheduleDifference(*difference).to_text() == text


def test_a_difference_is_saved_and_read_back(tmp_path):
    difference = ScheduleDifference(3, "a", "waiting", None, 0)
    difference.save(tmp_path / "difference.zip")
    assert load_record(tmp_path / "difference.zip") == difference
