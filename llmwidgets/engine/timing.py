"""`time_passes`: how long some work takes, by the clock and by the processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """One pass, in the mean of several."""

    seconds: float
    """What is compared: on a CPU its time divided by the threads, else what the clock showed."""
    cpu_seconds: float
    """Of all threads together."""
    wall_seconds: float


def time_passes(work: Callable[[], object], device: torch.device, budget: float) -> Timing:
    """Run some work once to warm up, then once or more until the budget is spent.

    Other programs take turns on the cores, and the clock counts their turns too. The processor's own time
    leaves them out; PyTorch's threads wait for each other busily, so divided by their number it is what the
    clock would show on an idle machine. It is the mean of all passes, not the least: the kernel learns of
    threads on other cores only with its ticks, some milliseconds apart, so a single pass may seem too short.

    Args:
        work: what is timed.
        device: where it runs; an accelerator is waited for after each pass, as a step waits for its logits.
        budget: seconds on the clock after which no new pass begins.
    """
    _run(work, device)
    passes = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while passes == 0 or time.perf_counter() - wall < budget:
        _run(work, device)
        passes += 1
    cpu_seconds, wall_seconds = (time.process_time() - cpu) / passes, (time.perf_counter() - wall) / passes
    seconds = cpu_seconds / torch.get_num_threads() if device.type == "cpu" else wall_seconds
    return Timing(seconds, cpu_seconds, wall_seconds)


def _run(work: Callable[[], object], device: torch.device) -> None:
    work()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
