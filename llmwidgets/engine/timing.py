"""`fastest`: how long some work takes, by the clock and by the processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_LONG = 5  # budgets: work that takes longer than that is timed once


@dataclass(frozen=True)
class Timing:
    """The fastest of several passes."""

    seconds: float
    """What is compared: on a CPU its time divided by the threads, else what the clock showed."""
    cpu_seconds: float
    """Of all threads together."""
    wall_seconds: float
    passes: int


def fastest(work: Callable[[], object], device: torch.device, budget: float) -> Timing:
    """Run some work once to warm up, then until the budget is spent, and twice unless that takes too long.

    Other programs take turns on the cores, and the clock counts their turns too. The processor's own time
    leaves them out; PyTorch's threads wait for each other busily, so divided by their number it is what the
    clock would show on an idle machine.

    Args:
        work: what is timed.
        device: where it runs; an accelerator is waited for.
        budget: seconds on the clock, after which a pass is repeated only if it was the first.
    """
    _once(work, device)
    timings = [_once(work, device)]
    spent = timings[0].wall_seconds
    while spent < budget or (len(timings) == 1 and spent < _LONG * budget):
        timings.append(_once(work, device))
        spent += timings[-1].wall_seconds
    best = min(timings, key=lambda timing: timing.seconds)
    return Timing(best.seconds, best.cpu_seconds, best.wall_seconds, len(timings))


def _once(work: Callable[[], object], device: torch.device) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    cpu_seconds, wall_seconds = time.process_time() - cpu, time.perf_counter() - wall
    seconds = cpu_seconds / torch.get_num_threads() if device.type == "cpu" else wall_seconds
    return Timing(seconds, cpu_seconds, wall_seconds, 1)
