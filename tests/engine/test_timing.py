"""`time_passes`: what is counted, and in which time."""

import time

import pytest
import torch

from llmwidgets.engine.timing import time_passes

CPU = torch.device("cpu")


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_one_pass_after_the_warm_up_is_the_least(budget):
    calls = []
    time_passes(lambda: calls.append(1), CPU, budget)
    assert len(calls) == 2


def test_passes_go_on_until_the_budget_is_spent():
    calls = []
    timing = time_passes(lambda: (calls.append(1), time.sleep(0.002)), CPU, 0.05)
    assert 3 <= len(calls) <= 26  # the warm-up, and at most 25 sleeps of 2 ms
    assert timing.wall_seconds >= 0.002


def test_waiting_costs_the_clock_and_not_the_processor():
    timing = time_passes(lambda: time.sleep(0.02), CPU, 0)
    assert timing.wall_seconds >= 0.02
    assert timing.cpu_seconds < timing.wall_seconds
    assert timing.seconds == timing.cpu_seconds / torch.get_num_threads()
