"""Lab 05: right answers pass, and each wrong one is turned down for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
import pytest

from llmwidgets.lab import check
from llmwidgets.lab.exercises import arithmetic_intensity, critical_batch, step_time
from llmwidgets.lab.exercises.catalogue import find


def intensity(flops: float = 2, x: int = 1, weight: int = 1, y: int = 1, size: bool = True) -> Any:
    def answer(B: int, D: int, F: int, bytes_: int) -> float:
        moved = x * B * D + weight * D * F + y * B * F
        return flops * B * D * F / ((bytes_ if size else 1) * moved)

    return answer


WRONG_INTENSITY = {
    "D multiplications and D additions": intensity(flops=1),
    "You count numbers, not bytes": intensity(size=False),
    "turn the division around": lambda B, D, F, s: s * (B * D + D * F + B * F) / (2 * B * D * F),
    "You count the weight only": intensity(x=0, y=0),
    "You leave out the output": intensity(y=0),
    "You leave out x": intensity(x=0),
    "These are the FLOPs": lambda B, D, F, s: 2 * B * D * F,
    "These are the bytes": lambda B, D, F, s: s * (B * D + D * F + B * F),
    "two FLOPs, three numbers": lambda B, D, F, s: B,
    "one number is asked for": lambda B, D, F, s: [B, D],
    "raised ZeroDivisionError": lambda B, D, F, s: 1 / 0,
}
WRONG_BATCH = {
    "return the whole number below": lambda peak, bandwidth, size: peak / bandwidth * size / 2,
    "takes longer already: round down": lambda peak, bandwidth, size: ceil(peak / bandwidth * size / 2),
    "whatever a weight takes: use bytes_per_weight": lambda peak, bandwidth, size: int(peak / bandwidth),
    "they allow a larger batch": lambda peak, bandwidth, size: int(2 * peak / bandwidth / size),
    "a weight takes two FLOPs": lambda peak, bandwidth, size: int(peak / bandwidth * size),
    "turn the division around": lambda peak, bandwidth, size: bandwidth / peak,
    "and solve for B": lambda peak, bandwidth, size: 100,
    "one number is asked for": lambda peak, bandwidth, size: "240",
}


def seconds(combine: Callable[[float, float, float], float]) -> Callable[..., float]:
    """Return an answer that combines the times of caches, reading and computing in its own way."""

    def answer(B: int, n: float, weights: float, kv: float, peak: float, bandwidth: float) -> float:
        return combine(B * kv / bandwidth, weights / bandwidth, 2 * B * n / peak)

    return answer


WRONG_SECONDS = {
    "seconds are asked for": seconds(lambda c, r, f: 1e3 * (c + max(r, f))),
    "The caches are left out": seconds(lambda c, r, f: max(r, f)),
    "take the slower, not the sum": seconds(lambda c, r, f: c + r + f),
    "for each weight and sequence there are two FLOPs": seconds(lambda c, r, f: c + max(r, f / 2)),
    "reads a cache of its own": lambda B, n, w, kv, peak, bw: kv / bw + max(w / bw, 2 * B * n / peak),
    "Weights are read once for all": lambda B, n, w, kv, peak, bw: (
        B * kv / bw + max(B * w / bw, 2 * B * n / peak)
    ),
    "caches + max(reading, computing)": seconds(lambda c, r, f: max(c + r, f)),
    "it does not overlap with the caches": seconds(lambda c, r, f: c + r),
    "At small B reading the weights takes longer": seconds(lambda c, r, f: c + f),
    "by hand: caches, reading weights, arithmetic": seconds(lambda c, r, f: 17.0),
    "Return one number, in seconds": seconds(lambda c, r, f: [c, r, f]),
}


def through_ends(sizes: Any, times: Any) -> tuple[float, float]:
    slope = (times[-1] - times[0]) / (sizes[-1] - sizes[0])
    return times[0] - slope * sizes[0], slope


WRONG_FIT = {
    "The two are exchanged": lambda sizes, times: np.polyfit(sizes, times, 1),
    "Your line goes through 0": lambda sizes, times: (0, (sizes @ times) / (sizes @ sizes)),
    "the first and the last time only": through_ends,
    "This is in milliseconds": lambda sizes, times: 1e3 * np.polyfit(sizes, times, 1)[::-1],
    "shall be as small as it can be": lambda sizes, times: (times.mean(), 0.0),
    "two numbers are asked for": lambda sizes, times: times,
    "Return `a, b`": lambda sizes, times: "a, b",
}
WRONG = {"05.e1": WRONG_INTENSITY, "05.e2": WRONG_BATCH, "05.e3": WRONG_SECONDS, "05.e4": WRONG_FIT}


@pytest.mark.parametrize(("which", "reason"), [(which, reason) for which in WRONG for reason in WRONG[which]])
def test_a_wrong_answer_is_turned_down_for_its_own_reason(which: str, reason: str) -> None:
    verdict = check(which, WRONG[which][reason])
    assert not verdict.ok
    assert verdict.attempted
    assert reason.lower() in f"{verdict.message} {verdict.next_step}".lower(), verdict
    assert verdict.next_step


@pytest.mark.parametrize("which", WRONG)
def test_the_solution_that_is_shown_passes(which: str) -> None:
    names: dict[str, Any] = {"np": np}
    exec(find(which).solution, names)
    verdict = check(which, names[find(which).reference.__name__])
    assert verdict.ok, verdict


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("blank", [None, ..., lambda *arguments: None, lambda *arguments: ...])
def test_a_blank_is_not_attempted_yet(which: str, blank: Any) -> None:
    assert repr(check(which, blank)) == "○ not attempted yet"


def test_intensity_is_what_pytorch_counts() -> None:
    assert arithmetic_intensity.counted(1, 1, 1, 4) == 2 / 12
    assert arithmetic_intensity.counted(64, 1024, 512, 2) == arithmetic_intensity.intensity(64, 1024, 512, 2)


def test_critical_batches_are_those_that_are_published() -> None:
    """Austin et al. 2025, How to Scale Your Model, part 7: 240 in bfloat16, 120 with int8 weights."""
    assert critical_batch.critical_batch(197e12, 819e9, 2) == 240
    assert critical_batch.critical_batch(197e12, 819e9, 1) == 120


def test_step_times_are_those_of_the_published_quiz() -> None:
    small, large = (step_time.step_seconds(*case) for case in step_time.CASES[:2])
    assert round(1e3 * small, 1) == 2.5
    assert round(1e3 * large) == 21
