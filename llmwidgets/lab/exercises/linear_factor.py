"""Exercise 03.e3: the factor of position interpolation that repairs twice the trained length."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

LENGTH, TRAINED = 2048, 1024
BEST = 1.5  # of those that were tried; a test measures it again
MOST_CALLS = 12

TASK = """Write `choose_factor(perplexity)`: return the factor of position interpolation with which the
bundled model reads best past its trained length, up to twice of it.

- `perplexity(factor)` runs the model on 2,048 tokens of a book that it never saw, with every position
  divided by `factor` (at least 1), and returns the perplexity of the tokens predicted at positions 1,024 to
  2,047. `perplexity(1)` is the model as it is. A call takes some seconds, so at most 12 are allowed.
- Return the factor: one number.

The check measures your factor and compares it with `perplexity(1)`: yours must be **at most half** of it. Is
the factor of the paper, 2,048 / 1,024 = 2, the best one for a model that was not trained any further?"""

HINTS = (
    "Measure a few and look: `for factor in (1, 2, 4): print(factor, perplexity(factor))` inside "
    "`choose_factor`, then run the check. Return 1 for now.",
    "A larger factor squeezes neighbours together too, and the model knows neighbours best. So no more than "
    "needed: look between 1 and 2.",
    "`return min((1, 1.25, 1.5, 1.75, 2), key=perplexity)`: the smallest perplexity wins.",
)


def choose_factor(perplexity):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the factor with the lowest perplexity past the trained length."""
    return min((1, 1.25, 1.5, 2), key=perplexity)


@cache  # the same number each time: the text, the model and the arithmetic are fixed
def measured(factor: float) -> float:
    """Return the model's perplexity at positions 1,024 to 2,047, all positions divided by `factor`."""
    from importlib.resources import files

    from llmwidgets.engine import load  # slow to load, and needed only once an answer is checked

    text = (files("llmwidgets") / "models" / "text" / "evaluation_books.txt").read_text(encoding="utf-8")
    engine = load(max_model_len=LENGTH)
    scaling = "none" if factor == 1 else "linear"
    record = engine.rotate(
        "a",
        text=text[:10_000],  # more than 2,048 tokens, and quick to tokenize
        scalings=scaling,
        factor=factor,
        max_position=LENGTH,
        bucket_size=TRAINED,
    )
    assert record.loss is not None  # noqa: S101  # a text was given
    return record.loss.perplexity_between(TRAINED, LENGTH, scaling)


class Meter:
    """Measures for a learner, and counts."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self.results: dict[float, float] = {}
        self.calls = 0

    def perplexity(self, factor: float) -> float:
        """Return the perplexity past the trained length with positions divided by `factor`."""
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise ValueError(f"perplexity was called more than {MOST_CALLS} times")
        if not np.isfinite(factor) or factor < 1:
            raise ValueError(f"factor={factor!r} is not allowed; allowed is a number of at least 1")
        self.results[float(factor)] = measured(float(factor))
        return self.results[float(factor)]


def judge(answer: Callable[..., Any]) -> Verdict:
    """Measure the factor that an answer returns against the model as it is."""
    meter = Meter()
    given = answer(meter.perplexity)
    if given is None or given is ...:
        return not_attempted()
    value = np.asarray(given)
    if value.size != 1 or value.dtype.kind not in "fiu":
        return wrong(f"You return {given!r}; one number is asked for.", "Return the factor, such as 3.")
    factor = float(value.reshape(-1)[0])
    if any(np.isclose(factor, result) for result in meter.results.values()):
        return wrong(
            f"You return {factor:.1f}, which is a perplexity that you measured.",
            "Return the factor it belongs to.",
        )
    if not np.isfinite(factor) or factor < 1:
        return wrong(
            f"The factor {factor:g} moves positions apart.",
            "Positions are divided by it: it must be at least 1.",
        )
    own = measured(1.0)
    if factor == 1:
        return wrong(
            f"Factor 1 is the model as it is: perplexity {own:.0f}.", "Positions must come closer together."
        )
    reached = measured(factor)
    if reached > own / 2:
        return wrong(
            f"With {factor:g} perplexity is {reached:.0f}; without it is {own:.0f}, and half is asked for.",
            "Too little: the farthest distances still turn further than training reached."
            if factor < BEST
            else "Too much: what is near is squeezed together as well, and the model knows near tokens best.",
        )
    return right(f"factor {factor:g}: perplexity {reached:.0f} past the trained length, {own:.0f} without")


EXERCISE = Exercise("03.e3", "Repair twice the length", 20, TASK, HINTS, choose_factor, judge)
