"""Exercise 05.e3: the least time of a decode step, by a model's and a device's figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

# A pop quiz of Austin et al. 2025, How to Scale Your Model, part 7: a model of 30e9 parameters in int8 with
# 8,192 tokens of 100 kB each in the cache, on 16 chips of 1.97e14 FLOP/s and 8.2e11 bytes/s.
QUIZ = (30e9, 30e9, 8192 * 100e3, 16 * 1.97e14, 16 * 8.2e11)
# (B, parameters, weight bytes, KV bytes of a sequence, FLOP/s, bytes/s)
CASES = (
    (4, *QUIZ),
    (256, *QUIZ),
    (1, 8e9, 16e9, 1e9, 9.9e14, 3.35e12),
    (512, 8e9, 16e9, 1e7, 9.9e14, 3.35e12),
    (64, 21e6, 84e6, 2.1e6, 1e11, 2e10),
    (300, 70e9, 70e9, 0.0, 1.6e15, 6.4e12),
)

TASK = """Write `step_seconds(B, parameters, weight_bytes, kv_bytes, flops_per_second, bytes_per_second)`: the
least time of one decode step of `B` sequences.

- Each sequence's keys and values, `kv_bytes` for each, are read by it alone. Attention does so few FLOPs with
  them that this part always waits for memory.
- The products with weights are under the roofline: reading `weight_bytes` **once for all sequences**, and
  `2 * parameters` FLOPs for each of them, happen at the same time, so the slower of the two counts.
- Both parts come one after the other.

`flops_per_second` and `bytes_per_second` are of all chips together. The first two cases are a published
quiz: 30 billion parameters in int8, 8,192 tokens of 100 kB in each sequence's cache, 16 chips of TPU v5e,
B = 4 and B = 256."""

HINTS = (
    "Three times: to read the caches of all B sequences, to read the weights, to compute. Two of them "
    "overlap.",
    "`max(2 * B * parameters / flops_per_second, weight_bytes / bytes_per_second)` is the part with weights.",
    "Add to it the caches: `B * kv_bytes / bytes_per_second`.",
)


def step_seconds(B, parameters, weight_bytes, kv_bytes, flops_per_second, bytes_per_second):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the least seconds of a decode step of B sequences."""
    caches = B * kv_bytes / bytes_per_second
    reading = weight_bytes / bytes_per_second
    computing = 2 * B * parameters / flops_per_second
    return caches + max(reading, computing)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Ask for both cases of the quiz, then for steps in which other parts are the slowest."""
    for number, case in enumerate(CASES):
        given = answer(*case)
        if given is None or given is ...:
            return not_attempted()
        where = "The quiz" if number < 2 else f"A model of {case[1] / 1e9:g} billion parameters"
        verdict = _compare(given, f"{where} at B = {case[0]}", case)
        if verdict is not None:
            return verdict
    small, large = (1e3 * step_seconds(*case) for case in CASES[:2])
    return right(
        f"{small:.1f} ms at B = 4 and {large:.0f} ms at B = 256, as published; {len(CASES)} of {len(CASES)}"
    )


def _compare(given: Any, where: str, case: tuple[float, ...]) -> Verdict | None:
    number = np.asarray(given)
    if number.size != 1 or number.dtype.kind not in "fiu":
        return wrong(f"{where}: you give {str(given)[:40]!r}.", "Return one number, in seconds.")
    value, expected = float(number.reshape(-1)[0]), step_seconds(*case)
    if np.isclose(value, expected, rtol=1e-9):
        return None
    B, parameters, weight_bytes, kv_bytes, peak, bandwidth = case
    caches, reading, computing = B * kv_bytes / bandwidth, weight_bytes / bandwidth, 2 * B * parameters / peak
    mistakes = (
        (1e3 * expected, "This is in milliseconds; seconds are asked for."),
        (max(reading, computing), "The caches are left out: B times kv_bytes are read as well."),
        (caches + reading + computing, "Reading and computing overlap: take the slower, not the sum."),
        (caches + max(reading, computing / 2), "For each weight and sequence there are two FLOPs."),
        (caches / B + max(reading, computing), "Each sequence reads a cache of its own: B times kv_bytes."),
        (caches + max(B * reading, computing), "Weights are read once for all: a batch saves just that."),
        (caches + reading, "Here arithmetic takes longer than reading weights, and it does not overlap with "
         "the caches: caches + max(reading, computing)."),
        (caches + computing, "At small B reading the weights takes longer than arithmetic: take the slower."),
    )  # fmt: skip
    said = f"{where}: you give {1e3 * value:.4g} ms; at least {1e3 * expected:.4g} ms are needed."
    for wrong_value, reason in mistakes:
        if np.isclose(value, wrong_value, rtol=1e-9):
            return wrong(said, reason)
    return wrong(said, "Compute the three times for B = 4 by hand: caches, reading weights, arithmetic.")


EXERCISE = Exercise("05.e3", "The least time of a step", 15, TASK, HINTS, step_seconds, judge)
