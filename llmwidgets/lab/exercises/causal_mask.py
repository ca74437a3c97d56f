"""Exercise 02.e2: a mask that is off by one, found by a test for leaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Mask = NDArray[np.bool_]
# (queries, keys): whole prompts, then a few new tokens behind tokens that are cached already.
CASES = ((1, 1), (2, 2), (5, 5), (12, 12), (1, 9), (3, 9), (4, 5))

TASK = """`may_look(num_queries, num_keys)` returns a mask of that shape: True where a query may look at
a key. The queries are the *last* `num_queries` of the `num_keys` tokens, as in decoding, where the tokens
before them are cached already. So query `i` is the token at position `num_keys - num_queries + i`.

The version in the next cell has a bug. Mend it.

The check is a leak test. It changes one token `j` after the other and counts which outputs move: none
before `j` may move, and token `j` itself and all behind it must."""

HINTS = (
    "Print `may_look(5, 5).astype(int)`. Which tokens does row 0 see? Which should it see?",
    "`np.tril(ones, k)` keeps column `j` of row `i` if `j <= i + k`. Write down for which `j` query `i` may "
    "look, with its position in place of `i`.",
    "Query `i` is at position `i + num_keys - num_queries` and sees itself and all before: "
    "`j <= i + (num_keys - num_queries)`. So `k` is what stands in brackets, with nothing added.",
)


def may_look(num_queries, num_keys):  # type: ignore[no-untyped-def]  # shown to learners
    """Return True where a query may look at a key; the queries are the last of the keys' tokens."""
    everything = np.ones((num_queries, num_keys), dtype=bool)
    return np.tril(everything, k=num_keys - num_queries)


def as_given(num_queries: int, num_keys: int) -> Mask:
    """Return the mask that the lab hands out, bug included."""
    everything = np.ones((num_queries, num_keys), dtype=bool)
    return np.tril(everything, k=num_keys - num_queries + 1)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Test masks of several sizes for leaks."""
    masks = []
    for num_queries, num_keys in CASES:
        given = answer(num_queries, num_keys)
        if given is None or given is ...:
            return not_attempted()
        masks.append(np.asarray(given))
    if all(_same(mask, as_given(*case)) for mask, case in zip(masks, CASES, strict=True)):
        return not_attempted()
    for mask, case in zip(masks, CASES, strict=True):
        verdict = _test(mask, *case)
        if verdict is not None:
            return verdict
    return right(f"no leak, and nobody is blind: {len(CASES)} of {len(CASES)} masks pass")


def moved(mask: Mask, changed: int) -> list[int]:
    """Return the queries whose output moves when the key and value of one token change.

    Every key is given the same score, so an output is the mean of the values that its query sees.
    """
    num_keys = mask.shape[1]
    values = np.arange(1.0, num_keys + 1)
    after = values.copy()
    after[changed] += 100.0
    seen = mask.sum(axis=1)
    means = [np.where(seen > 0, (mask * v).sum(axis=1) / np.maximum(seen, 1), 0.0) for v in (values, after)]
    return [int(i) for i in np.flatnonzero(means[0] != means[1])]


def _same(mask: NDArray[Any], other: Mask) -> bool:
    return mask.shape == other.shape and bool((mask.astype(bool) == other).all())


def _test(mask: NDArray[Any], num_queries: int, num_keys: int) -> Verdict | None:
    call = f"may_look({num_queries}, {num_keys})"
    if mask.shape != (num_queries, num_keys):
        return wrong(
            f"{call} has the shape {mask.shape}; it should be ({num_queries}, {num_keys}).",
            "One row for each query, one column for each key.",
        )
    if mask.dtype != np.bool_:
        return wrong(f"{call} holds {mask.dtype}, not True and False.", "Return a mask of dtype bool.")
    past = num_keys - num_queries
    for token in range(num_keys):
        outputs = moved(mask, token)
        early = [i for i in outputs if past + i < token]
        if early:
            count = f"{len(early)} earlier output{'s' if len(early) > 1 else ''}"
            return wrong(
                f"A leak in {call}: changing token {token} moves {count}, of token {past + early[0]} first.",
                "A token may look at itself and at what comes before it, at nothing later.",
            )
        if token >= past and token - past not in outputs:
            return wrong(
                f"In {call} token {token} does not see itself.", "Each token may look at itself too."
            )
        blind = [i for i in range(num_queries) if past + i > token and i not in outputs]
        if blind:
            return wrong(
                f"In {call} token {past + blind[0]} does not see token {token}, which comes before it.",
                "The queries are the last tokens: what is cached lies before all of them.",
            )
    return None


EXERCISE = Exercise("02.e2", "Find the leak", 10, TASK, HINTS, may_look, judge)
