"""Lab 02: right answers pass, and each wrong one is turned down for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llmwidgets.lab import check
from llmwidgets.lab.exercises import masked_attention
from llmwidgets.lab.exercises.catalogue import MODULES, find
from llmwidgets.lab.exercises.causal_mask import as_given
from tests.lab.exercise_cases import assert_turned_down, named


def softmax(scores: Any, axis: int = -1) -> Any:
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def attention(
    scale: Callable[[int], float] = np.sqrt,
    masked: float = -np.inf,
    after: bool = False,
    axis: int = -1,
    turn: Callable[[Any], Any] = lambda k: k.swapaxes(-1, -2),
    soft: Callable[..., Any] = softmax,
) -> Callable[..., Any]:
    def answer(q: Any, k: Any, v: Any) -> Any:
        scores = q @ turn(k) / scale(q.shape[-1])
        may_look = np.tril(np.ones(scores.shape[-2:], dtype=bool))
        if after:
            return np.where(may_look, soft(scores), 0) @ v
        return soft(np.where(may_look, scores, scores if np.isnan(masked) else masked), axis=axis) @ v

    return answer


def overflowing(scores: Any, axis: int = -1) -> Any:
    with np.errstate(all="ignore"):
        weights = np.exp(scores)
        return weights / weights.sum(axis=axis, keepdims=True)


WRONG_ATTENTION = {
    "there is no mask": attention(masked=np.nan),
    "not divided by sqrt(D)": attention(scale=lambda D: 1.0),
    "divided by D, not by sqrt(D)": attention(scale=float),
    "after the softmax": attention(after=True),
    "exp(0) is 1": attention(masked=0.0),
    "columns add up to 1": attention(axis=-2),
    "not numbers (nan or inf)": attention(soft=overflowing),
    "differs by up to": lambda q, k, v: v,
    "you return the shape": lambda q, k, v: v[..., :1],
    "raised ValueError": attention(turn=lambda k: k.T),  # turns the batch too
    "raised ZeroDivisionError": lambda q, k, v: 1 // 0,
    "raised SystemExit": lambda q, k, v: exit(1),
}
WRONG_MASK = {
    "changing token 1 moves 1 earlier output,": lambda n, m: np.tril(np.ones((n, m), bool), m - n + 2),
    "changing token 4 moves 4 earlier outputs,": lambda n, m: (
        np.tril(np.ones((n, m), bool), m - n) | ((m == 5) & (np.arange(m) == 4))
    ),
    "does not see itself": lambda n, m: np.tril(np.ones((n, m), bool), m - n - 1),
    "does not see token 1, which comes before": lambda n, m: np.tril(np.ones((n, m), bool)),
    "has the shape (2, 1)": lambda n, m: np.ones((n + 1, m), bool),
    "not True and False": lambda n, m: np.tril(np.ones((n, m)), m - n),
}


def in_blocks(shrink: bool = True, from_largest: bool = True) -> Callable[..., Any]:
    def answer(read_block: Any, num_blocks: int) -> Any:
        largest, total, weighted = -np.inf, 0.0, 0.0
        for b in range(num_blocks):
            scores, values = read_block(b)
            new = max(largest, scores.max()) if from_largest else 0.0
            by = np.exp(largest - new) if shrink and from_largest else 1.0
            p = np.exp(scores - new)
            total, weighted, largest = total * by + p.sum(), weighted * by + (p * values).sum(), new
        return weighted / total

    return answer


def all_at_once(read_block: Any, num_blocks: int) -> Any:
    pairs = [read_block(b) for b in range(num_blocks)]
    scores, values = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return (softmax(scores) * values).sum()


def two_passes(read_block: Any, num_blocks: int) -> Any:
    largest = max(read_block(b)[0].max() for b in range(num_blocks))
    sums = np.zeros(2)
    for b in range(num_blocks):
        scores, values = read_block(b)
        p = np.exp(scores - largest)
        sums += (p * values).sum(), p.sum()
    return sums[0] / sums[1]


def hoarding(read_block: Any, num_blocks: int) -> Any:
    pairs = [read_block(b) for b in range(num_blocks)]
    largest = max(scores.max() for scores, _ in pairs)
    total = sum(np.exp(scores - largest).sum() for scores, _ in pairs)
    return sum((np.exp(scores - largest) * values).sum() for scores, values in pairs) / total


def mean_of_blocks(read_block: Any, num_blocks: int) -> Any:
    results = []
    for b in range(num_blocks):
        scores, values = read_block(b)
        results.append((softmax(scores) * values).sum())
    return np.mean(results)


WRONG_SOFTMAX = {
    "older maximum": in_blocks(shrink=False),
    "your result is nan": in_blocks(from_largest=False),
    "you made an array of 32 numbers": all_at_once,
    "took 2 reads": two_passes,
    "you kept 3 blocks": hoarding,
    "mean of the blocks' own": mean_of_blocks,
    "differs from the full softmax": lambda read_block, n: 0.123,
    "one is asked for": lambda read_block, n: read_block(0)[1],
}
WRONG = {"02.e1": WRONG_ATTENTION, "02.e2": WRONG_MASK, "02.e3": WRONG_SOFTMAX}


@pytest.mark.parametrize("which", MODULES)
def test_the_reference_passes(which: str) -> None:
    assert check(which, find(which).reference).ok


@pytest.mark.parametrize("which", MODULES)
def test_the_solution_that_is_shown_passes(which: str) -> None:
    names: dict[str, Any] = {"np": np}
    exec(find(which).solution, names)
    verdict = check(which, names[find(which).reference.__name__])
    assert verdict.ok, verdict


@pytest.mark.parametrize(("which", "reason"), named(WRONG))
def test_a_wrong_answer_is_turned_down_for_its_own_reason(which: str, reason: str) -> None:
    assert_turned_down(which, WRONG[which][reason], reason)


def unfinished(*arguments: Any) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize("which", MODULES)
@pytest.mark.parametrize("blank", [None, ..., lambda *arguments: None, lambda *arguments: ..., unfinished])
def test_a_blank_is_not_attempted_yet(which: str, blank: Any) -> None:
    assert repr(check(which, blank)) == "○ not attempted yet"


def test_the_mask_as_given_is_not_attempted_yet() -> None:
    assert not check("02.e2", as_given).attempted


def test_the_check_of_attention_covers_20_shapes_with_and_without_batch() -> None:
    shapes = masked_attention.shapes()
    assert len(set(shapes)) == 20
    assert {len(shape) for shape in shapes} == {2, 3}
