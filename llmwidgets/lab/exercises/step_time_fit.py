"""Exercise 05.e4: the line t(B) = a + b · B through the times of decode steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Array = NDArray[np.float64]
# (a, b, share of noise): an exact line first, so that a mistake is not taken for noise.
CASES = ((4e-3, 1e-3, 0.0), (12e-3, 1.4e-3, 0.08), (2e-3, 5e-4, 0.2), (30e-3, 2e-5, 0.05))
SIZES = (1, 2, 4, 8, 16, 32)

TASK = """You measured how long a decode step takes at several batch sizes. Write `fit(batch_sizes, seconds)`:
the two numbers `(a, b)` of the line `t(B) = a + b * B` that lies nearest, by **least squares**: the sum of
its squared errors is as small as it can be.

- `a` is what a step takes however many sequences share it: reading the weights, starting each operation.
- `b` is what each sequence adds: its own cache, its own arithmetic.

`a / b` is then the batch size at which half of a step is shared. The check uses made-up times, some with
noise, and compares your line with the best one."""

HINTS = (
    "NumPy fits polynomials: look at `np.polyfit(x, y, deg)`. A line has degree 1.",
    "`np.polyfit` returns the highest power first: slope, then intercept.",
    "`b, a = np.polyfit(batch_sizes, seconds, 1)`, then return `a, b`.",
)


def fit(batch_sizes, seconds):  # type: ignore[no-untyped-def]  # shown to learners, who write no types
    """Return a and b of the least-squares line a + b · B."""
    b, a = np.polyfit(batch_sizes, seconds, 1)
    return a, b


def times(case: int) -> Array:
    """Return the made-up times of a case."""
    a, b, noise = CASES[case]
    exact = a + b * np.asarray(SIZES, dtype=np.float64)
    return np.asarray(exact * (1 + noise * np.random.default_rng(case).standard_normal(len(SIZES))))


def judge(answer: Callable[..., Any]) -> Verdict:
    """Compare an answer's line with the best one, on exact times and on noisy ones."""
    sizes = np.asarray(SIZES, dtype=np.float64)
    for case in range(len(CASES)):
        seconds = times(case)
        given = answer(sizes.copy(), seconds.copy())
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(given, sizes, seconds)
        if verdict is not None:
            return verdict
    return right(f"the line of least squares in {len(CASES)} of {len(CASES)} sets of times")


def _compare(given: Any, sizes: Array, seconds: Array) -> Verdict | None:
    try:
        line = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        line = np.empty(0)
    if line.shape != (2,) or not np.isfinite(line).all():
        return wrong(f"You return {str(given)[:60]}; two numbers are asked for.", "Return `a, b`.")
    slope, intercept = (float(number) for number in np.polyfit(sizes, seconds, 1))
    if np.allclose(line, (intercept, slope), rtol=1e-6, atol=1e-9):
        return None
    said = f"You give a = {1e3 * line[0]:.4g} ms and b = {1e3 * line[1]:.4g} ms."
    ends = (seconds[-1] - seconds[0]) / (sizes[-1] - sizes[0])
    mistakes = (
        ((slope, intercept), "The two are exchanged: `np.polyfit` returns the slope first."),
        ((0.0, float(sizes @ seconds / (sizes @ sizes))),
         "Your line goes through 0: a step without sequences still takes a."),
        ((seconds[0] - ends * sizes[0], ends), "You use the first and the last time only: all count."),
        ((1e3 * intercept, 1e3 * slope), "This is in milliseconds; the times are in seconds."),
    )  # fmt: skip
    for wrong_line, reason in mistakes:
        if np.allclose(line, wrong_line, rtol=1e-6, atol=1e-12):
            return wrong(said, reason)
    return wrong(
        f"{said} Its mean error is {_error(line[0], line[1], sizes, seconds):.2g} ms, the best line's "
        f"{_error(intercept, slope, sizes, seconds):.2g} ms.",
        "Least squares: the sum of (a + b · B - t)² over all batch sizes shall be as small as it can be.",
    )


def _error(a: float, b: float, sizes: Array, seconds: Array) -> float:
    """Return the root of the mean squared error in milliseconds."""
    return float(1e3 * np.sqrt(np.mean((a + b * sizes - seconds) ** 2)))


EXERCISE = Exercise("05.e4", "What a step shares", 15, TASK, HINTS, fit, judge)
