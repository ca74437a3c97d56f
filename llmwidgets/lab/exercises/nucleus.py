"""Exercise 01.e2: top-p, the smallest set of tokens that reaches a probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Floats = NDArray[np.float64]
Make = Callable[[Floats, float], NDArray[np.bool_]]
NUM_ROWS = 50
ROUNDING = 1e-9

TASK = """Write `keep_top_p(probabilities, p)` in NumPy: which tokens stay under top-p (Holtzman 2020,
section 3.1).

- `probabilities` has one entry a token and adds up to 1, in no order. Return an array of True and False of
  the same length.
- What stays is the **smallest** set of tokens whose probabilities add up to at least `p`, the most probable
  ones.
- Of equally probable tokens keep no more than are needed; which of them is up to you.
- `p = 1` keeps each token that has any probability, and none that has 0.

The check tries 50 random rows, ties, and `p = 1`."""

HINTS = (
    "Sort from the most probable down, and add up as you go: `np.cumsum`. How many of the sorted tokens "
    "do you need?",
    "`np.searchsorted(cumulative, p)` is the first place at which the sum is at least `p`; that token is "
    "needed too. Then carry the decision back from the sorted order to the tokens' own places.",
    "`order = np.argsort(-probabilities)`; `needed = np.searchsorted(np.cumsum(probabilities[order]), p) "
    "+ 1`; begin with all False and set `keep[order[:needed]] = True`. Tokens of probability 0 never "
    "stay.",
)


def keep_top_p(probabilities, p):  # type: ignore[no-untyped-def]  # shown to learners
    """Return True for the tokens of the smallest set that reaches probability p."""
    order = np.argsort(-probabilities)
    cumulative = np.cumsum(probabilities[order])
    needed = np.searchsorted(cumulative, p) + 1
    keep = np.zeros(len(probabilities), dtype=bool)
    keep[order[:needed]] = True
    return keep & (probabilities > 0)


@dataclass(frozen=True)
class Row:
    """Probabilities, and the p that is asked for."""

    probabilities: Floats
    p: float


def rows() -> list[Row]:
    """Return the rows of the check: small ones first, then random ones."""
    made = [
        Row(np.array([0.125, 0.5, 0.25, 0.125]), 0.75),  # sums that floats hold exactly
        Row(np.array([0.25, 0.125, 0.25, 0.25, 0.125]), 0.5),
        Row(np.array([0.125, 0.5, 0.25, 0.125]), 0.01),
        Row(np.array([0.25, 0.0, 0.5, 0.25, 0.0]), 1.0),
    ]
    rng = np.random.default_rng(1)
    for number in range(NUM_ROWS):
        weights = np.exp(rng.normal(0, 1 + 2 * rng.random(), int(rng.integers(3, 200))))
        made.append(Row(weights / weights.sum(), 1.0 if number % 10 == 9 else float(rng.uniform(0.02, 0.98))))
    return made


def judge(answer: Callable[..., Any]) -> Verdict:
    """Test what an answer keeps of all rows; a known mistake has to explain every one of them."""
    tried = rows()
    kept = []
    for row in tried:
        given = answer(row.probabilities.copy(), row.p)
        if given is None or given is ...:
            return not_attempted()
        kept.append(np.asarray(given))
        if kept[-1].shape != row.probabilities.shape or kept[-1].dtype != np.bool_:
            return wrong(
                f"For {len(row.probabilities)} tokens you return {kept[-1].dtype} of shape {kept[-1].shape}.",
                "Return one True or False for each token: an array of dtype bool.",
            )
    failed = [(row, keep) for row, keep in zip(tried, kept, strict=True) if not _is_smallest(keep, row)]
    if not failed:
        return right(f"the smallest set in {NUM_ROWS} of {NUM_ROWS} random rows, with ties, and with p = 1")
    row, keep = failed[0]
    call = f"With {_written(row.probabilities)} and p = {row.p:.3g}"
    for make, message, next_step in _MISTAKES:
        explained = (
            _keep_equals(given, make(one.probabilities, one.p), one)
            for given, one in zip(kept, tried, strict=True)
        )
        if all(explained):
            return wrong(f"{call}: {message}", next_step)
    return _unknown(call, keep, row)


def _unknown(call: str, keep: NDArray[np.bool_], row: Row) -> Verdict:
    """Say what is wrong with a set that is not the smallest."""
    if not keep.any():
        return wrong(f"{call} nothing stays.", "The token that passes p stays too, so there is always one.")
    mass = row.probabilities[keep].sum()
    if mass < row.p - ROUNDING:
        return wrong(
            f"{call} what stays adds up to {mass:.3g} only.", "Keep adding until the sum is at least p."
        )
    if not keep.all() and row.probabilities[~keep].max() > row.probabilities[keep].min():
        return wrong(
            f"{call} a token goes that is more probable than one that stays.",
            "Sort from the most probable down before you add up.",
        )
    return wrong(
        f"{call} {int(keep.sum())} tokens stay; fewer would do.",
        "Stop at the first token at which the sum is at least p. A token of probability 0 adds nothing.",
    )


def _is_smallest(keep: NDArray[np.bool_], row: Row) -> bool:
    return _keep_equals(keep, keep_top_p(row.probabilities, row.p), row)


def _keep_equals(one: NDArray[np.bool_], other: NDArray[np.bool_], row: Row) -> bool:
    """Return whether two sets hold equal probabilities: which of equally probable tokens is no matter."""
    return np.array_equal(np.sort(row.probabilities[one]), np.sort(row.probabilities[other]))


def _written(probabilities: Floats) -> str:
    text = ", ".join(f"{one:.3g}" for one in probabilities[:5])
    return f"[{text}{', …' if len(probabilities) > 5 else ''}]"


def _first(order: NDArray[np.intp], needed: int) -> NDArray[np.bool_]:
    keep = np.zeros(len(order), dtype=bool)
    keep[order[:needed]] = True
    return keep


def _down(probabilities: Floats) -> NDArray[np.intp]:
    return np.argsort(-probabilities, kind="stable")


def _sums(probabilities: Floats) -> Floats:
    return np.cumsum(probabilities[_down(probabilities)])


def _below(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return _first(_down(probabilities), int((_sums(probabilities) < p).sum()))


def _not_above(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return _first(_down(probabilities), int((_sums(probabilities) <= p).sum()))


def _one_more(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return _first(_down(probabilities), int((_sums(probabilities) <= p).sum()) + 1)


def _sorted_places(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return np.arange(len(probabilities)) <= np.searchsorted(_sums(probabilities), p)


def _least_first(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    order = np.argsort(probabilities, kind="stable")
    return _first(order, int(np.searchsorted(np.cumsum(probabilities[order]), p)) + 1)


def _all_equals(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return np.asarray(probabilities >= probabilities[keep_top_p(probabilities, p)].min())


def _share_of_top(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return np.asarray(probabilities >= p * probabilities.max())


def _zeros_too(probabilities: Floats, p: float) -> NDArray[np.bool_]:
    return np.asarray(keep_top_p(probabilities, p) | ((probabilities == 0) & (p == 1)))


def _without_zeros(make: Make) -> Make:
    """Return the same mistake made by somebody who thought of probabilities of 0."""
    return lambda probabilities, p: np.asarray(make(probabilities, p) & (probabilities > 0))


_MISSING = "The set has to reach p, so that token stays too."
_KNOWN: tuple[tuple[Make, str, str], ...] = (
    (
        _all_equals,
        "all tokens as probable as the last one stay, which is more than are needed.",
        "Keep tokens by their place in the sorted order, not by a threshold.",
    ),
    (
        _sorted_places,
        "the right number of tokens, but at their places in the sorted order.",
        "Carry the decision back: `keep[order[:needed]] = True`.",
    ),
    (_not_above, "the token with which the sum passes p is missing.", _MISSING),
    (_below, "the token with which the sum reaches p is missing.", _MISSING),
    (
        _one_more,
        "one token more than needed: the sum was p already.",
        "At least p is enough: stop once the sum is not below p.",
    ),
    (
        _least_first,
        "the least probable tokens come first.",
        "Sort from the most probable down: argsort(-probabilities).",
    ),
    (
        _share_of_top,
        "this is min-p: tokens below p times the top probability go.",
        "Top-p is about a sum: add up from the most probable down.",
    ),
)
_MISTAKES = (
    (
        _zeros_too,
        "tokens of probability 0 stay.",
        "They add nothing to the sum, so the smallest set is without them.",
    ),
    *_KNOWN,
    *((_without_zeros(make), message, next_step) for make, message, next_step in _KNOWN),
)

EXERCISE = Exercise("01.e2", "Top-p", 15, TASK, HINTS, keep_top_p, judge)
