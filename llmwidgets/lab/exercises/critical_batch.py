"""Exercise 05.e2: the batch size up to which a step waits for memory, on devices by their datasheets."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong
from llmwidgets.records.device_card import device_card

# (device, bytes of a weight); arithmetic is in bfloat16 in all of them.
CASES = (
    ("Google TPU v5e", 2),
    ("NVIDIA H100 SXM", 2),
    ("NVIDIA L4", 2),
    ("Google TPU v5e", 1),
    ("NVIDIA A100 SXM 80 GB", 1),
)

TASK = """Where a batch is small and a matrix large, its weights are nearly all that moves: each is read once,
and for each of `B` rows it takes two FLOPs. So a step does `2 * B / bytes_per_weight` FLOPs for a byte.

Write `critical_batch(flops_per_second, bytes_per_second, bytes_per_weight)`: the **largest whole** batch size
at which such a step still waits for memory, that is, at which reading takes at least as long as computing.

Weights in bfloat16 take 2 bytes, in int8 one; the arithmetic is the same.

The check asks for three devices by their datasheets, then with int8 weights."""

HINTS = (
    "Time to read one weight: `bytes_per_weight / bytes_per_second`. Time to use it for `B` rows: "
    "`2 * B / flops_per_second`. At which `B` are they equal?",
    "`B = flops_per_second / bytes_per_second * bytes_per_weight / 2`. With 2 bytes the last factor is 1: "
    "the batch size is the ridge point.",
    "That is seldom whole. At the next larger whole number arithmetic takes longer, so round down: "
    "`int(...)`.",
)


def critical_batch(flops_per_second, bytes_per_second, bytes_per_weight):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the largest batch size at which reading weights takes at least as long as computing."""
    ridge = flops_per_second / bytes_per_second
    return int(ridge * bytes_per_weight / 2)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Ask for three devices in bfloat16, then for int8 weights."""
    found = []
    for name, size in CASES:
        card = device_card(name)
        peak, bandwidth = card.flops_per_second["bfloat16"], card.bytes_per_second
        given = answer(peak, bandwidth, size)
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(given, f"{name} with {size}-byte weights", peak, bandwidth, size)
        if verdict is not None:
            return verdict
        found.append(int(given))
    return right(
        f"{found[0]} on a TPU v5e, {found[1]} on an H100, {found[2]} on an L4; with int8 weights half as many"
    )


def _compare(given: Any, where: str, peak: float, bandwidth: float, size: int) -> Verdict | None:
    number = np.asarray(given)
    if number.size != 1 or number.dtype.kind not in "fiu":
        return wrong(
            f"For {where} you give {str(given)[:40]!r}; one number is asked for.", "Return a batch size."
        )
    value, exact = float(number.reshape(-1)[0]), peak / bandwidth * size / 2
    if value == int(exact):
        return None
    said = f"For {where} you give {value:g}."
    if np.isclose(value, exact, rtol=1e-9):
        return wrong(said, "There is no part of a sequence in a batch: return the whole number below.")
    if value == ceil(exact):
        return wrong(said, "At this batch size arithmetic takes longer already: round down.")
    mistakes = (
        (peak / bandwidth, "This is the ridge point, whatever a weight takes: use bytes_per_weight."),
        (2 * exact, "For each row a weight takes two FLOPs: a multiplication and an addition."),
        (2 * peak / bandwidth / size, "More bytes of a weight take longer: they allow a larger batch."),
        (bandwidth / peak, "This is bytes for each FLOP: turn the division around."),
    )  # fmt: skip
    for wrong_value, reason in mistakes:
        if value in (int(wrong_value), round(wrong_value)) or np.isclose(value, wrong_value, rtol=1e-9):
            return wrong(said, reason)
    return wrong(
        said, "Set the time to read one weight equal to the time to use it B times, and solve for B."
    )


EXERCISE = Exercise("05.e2", "Where batching stops being free", 10, TASK, HINTS, critical_batch, judge)
