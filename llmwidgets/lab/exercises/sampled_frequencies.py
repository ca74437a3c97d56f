"""Exercise 01.e3: a sampler whose frequencies follow the softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Floats = NDArray[np.float64]
DRAWS = 4000
LEAST_P_VALUE = 1e-4
LARGEST_EXP = 700  # exp of more is no float64

TASK = """Write `sample(logits, temperature, rng)`: draw one token.

- `logits` is one row, one number a token; `temperature` is above 0. A token's probability is the softmax of
  `logits / temperature`.
- `rng` is NumPy's random generator: `rng.random()` gives a number from 0 to 1. Take **all** chance from it,
  so that the same generator gives the same tokens.
- Return the token's id, a whole number from 0.

The check draws 4,000 times from each of three rows and compares the counts with the softmax by a chi-square
test: a right sampler fails it once in 10,000 rows."""

HINTS = (
    "Lay the probabilities end to end from 0 to 1, each token a piece as long as its probability. A "
    "random number from 0 to 1 falls into one of the pieces.",
    "`np.cumsum(probabilities)` holds where each piece ends. The token is the first whose end is above "
    "the number: `np.searchsorted(ends, number, side='right')`.",
    "Subtract the largest logit before `exp`, else large logits overflow. Divide by the temperature "
    "first. Rounding may leave the last end a little below 1: `min(token, len(logits) - 1)`.",
)


def sample(logits, temperature, rng):  # type: ignore[no-untyped-def]  # shown to learners
    """Draw a token id from the softmax of logits / temperature."""
    scaled = logits / temperature
    weights = np.exp(scaled - scaled.max())
    ends = np.cumsum(weights / weights.sum())
    token = np.searchsorted(ends, rng.random(), side="right")
    return min(int(token), len(logits) - 1)


@dataclass(frozen=True)
class Row:
    """What is drawn from."""

    logits: Floats
    temperature: float

    @property
    def law(self) -> Floats:
        """The probabilities that the task asks for."""
        return softmax(self.logits / self.temperature)


ROWS = (
    Row(np.array([1.0, 3.0, 0.5, 2.0, 1.5]), 1.0),
    Row(np.array([0.2, 1.0, 1.6, 0.9, 1.3, 0.5]), 0.5),
    Row(np.array([4002.0, 4000.0, 4001.0, 4003.0]), 2.0),
)


def softmax(scores: Floats) -> Floats:
    """Return probabilities, shape (V,)."""
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def judge(answer: Callable[..., Any]) -> Verdict:
    """Draw from each row, twice a few times with the same generator, then compare counts with the law."""
    for number, row in enumerate(ROWS):
        first = [_draw(answer, row, rng, 20) for rng in (np.random.default_rng(7), np.random.default_rng(7))]
        if any(token is None or token is ... for token in first[0]):
            return not_attempted()
        verdict = _kind(first[0], row)
        if verdict is not None:
            return verdict
        if first[0] != first[1]:
            return wrong(
                "Two generators with the same seed give different tokens.",
                "Take every random number from rng, not from np.random or random.",
            )
        drawn = _draw(answer, row, np.random.default_rng(number), DRAWS)
        verdict = _kind(drawn, row) or _frequencies(np.bincount(drawn, minlength=len(row.logits)), row)
        if verdict is not None:
            return verdict
    return right(f"{DRAWS} draws follow the softmax in {len(ROWS)} of {len(ROWS)} rows")


def p_value(counts: NDArray[np.int64], law: Floats) -> float:
    """Return how probable counts at least this far from the law are (Pearson 1900, chi-square)."""
    import torch  # slow to load, and needed only once an answer draws

    expected = counts.sum() * law
    chi_square = ((counts - expected) ** 2 / expected).sum()
    half = torch.tensor([(len(law) - 1) / 2, chi_square / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def _draw(answer: Callable[..., Any], row: Row, rng: np.random.Generator, times: int) -> list[Any]:
    with np.errstate(all="ignore"):
        return [answer(row.logits.copy(), row.temperature, rng) for _ in range(times)]


def _kind(drawn: list[Any], row: Row) -> Verdict | None:
    for token in drawn:
        whole = isinstance(token, (int, np.integer)) and not isinstance(token, bool)
        if not whole or not 0 <= token < len(row.logits):
            return wrong(
                f"For {len(row.logits)} tokens, logits up to {row.logits.max():.0f}, you return {token!r}.",
                f"Return one whole number from 0 to {len(row.logits) - 1}. If it goes wrong for large logits "
                "only, exp has overflown: subtract the largest first.",
            )
    return None


def _frequencies(counts: NDArray[np.int64], row: Row) -> Verdict | None:
    if p_value(counts, row.law) > LEAST_P_VALUE:
        return None
    if row.logits.max() > LARGEST_EXP:
        return wrong(
            f"With logits around {row.logits.max():.0f} your draws do not follow the softmax.",
            "exp of a large number overflows: subtract the largest one before exp.",
        )
    if counts.max() == DRAWS:
        return wrong(
            f"All {DRAWS} draws give token {counts.argmax()}.",
            "A draw needs a new number each time: rng.random().",
        )
    for make, message, next_step in _MISTAKES:
        if p_value(counts, make(row)) > LEAST_P_VALUE:
            return wrong(message, next_step)
    shares = ", ".join(f"{count / DRAWS:.3f}" for count in counts)
    return wrong(
        f"Your frequencies are {shares}; the softmax is {', '.join(f'{one:.3f}' for one in row.law)}.",
        "Compute the probabilities for two tokens by hand, and draw a thousand times.",
    )


_MISTAKES: tuple[tuple[Callable[[Row], Floats], str, str], ...] = (
    (
        lambda row: softmax(row.logits),
        "The temperature has no effect.",
        "Divide the logits by it before exp.",
    ),
    (
        lambda row: softmax(row.logits * row.temperature),
        "The temperature works the wrong way round.",
        "Divide by it: below 1 sharper, above 1 flatter.",
    ),
    (
        lambda row: np.full(len(row.logits), 1 / len(row.logits)),
        "Every token is equally probable.",
        "Weigh the tokens by exp(logit / temperature).",
    ),
    (
        lambda row: np.roll(row.law, 1),
        "Each draw is one token too far.",
        "Token 0 has the first piece, from 0 to its end.",
    ),
    (
        lambda row: np.roll(row.law, -1),
        "Each draw is one token too early.",
        "Token 0 has the first piece, from 0 to its end.",
    ),
    (
        lambda row: row.logits / row.logits.sum(),
        "The logits themselves are the weights.",
        "Take exp of logits / temperature first.",
    ),
)

EXERCISE = Exercise("01.e3", "Draw", 15, TASK, HINTS, sample, judge)
