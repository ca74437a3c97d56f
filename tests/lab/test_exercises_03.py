"""Lab 03: right answers pass, and each wrong one is turned down for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llmwidgets.lab import check
from llmwidgets.lab.exercises import linear_factor, rotary_embedding
from llmwidgets.lab.exercises.cache_positions import as_given
from llmwidgets.lab.exercises.catalogue import find
from tests.lab.exercise_cases import assert_turned_down, named


def turned(
    sign: float = 1,
    unit: Callable[[Any], Any] = lambda angles: angles,
    at: Callable[[Any], Any] = lambda positions: positions,
    neighbours: bool = False,
    back: Callable[[Any], Any] = lambda rows: rows,
) -> Callable[..., Any]:
    def answer(x: Any, positions: Any, inv_freq: Any) -> Any:
        angles = sign * unit(at(positions)[:, None] * inv_freq)
        cos, sin = np.cos(angles), np.sin(angles)
        if neighbours:
            a, b = x[:, 0::2], x[:, 1::2]
            return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)
        a, b = np.split(x, 2, axis=-1)
        return back(np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1))

    return answer


def in_place(x: Any, positions: Any, inv_freq: Any) -> Any:
    x[:] = rotary_embedding.apply_rope(x, positions, inv_freq)
    return x


def curved(x: Any, positions: Any, inv_freq: Any) -> Any:
    """Return what is right up to position 800, where the cases end, and wrong where the shifts look."""
    beyond = len(positions) == 1 and 500 <= positions[0] < 600
    return rotary_embedding.apply_rope(x, positions + (positions[0] % 5) * beyond, inv_freq)


WRONG_ROTATION = {
    "nothing is turned": lambda x, positions, inv_freq: x,
    "the pairs turn backwards": turned(sign=-1),
    "neighbours are turned": turned(neighbours=True),
    "as if they stood at 0, 1, 2": turned(at=lambda positions: np.arange(len(positions))),
    "the angles are taken for degrees": turned(unit=np.radians),
    "you return the shape": turned(back=lambda rows: rows[:, : rows.shape[1] // 2]),
    "not numbers": turned(unit=lambda angles: angles + np.nan),
    "the output differs by up to": turned(unit=lambda angles: 2 * angles),
    "You write into `x` itself": in_place,
    "their score changed by": curved,
    "raised ValueError": lambda x, positions, inv_freq: x.reshape(3, 5),
}


def generating(
    position: Callable[[int, int], int], again: bool = False, pick: Callable[..., Any] = np.argmax
) -> Callable[..., Any]:
    def answer(forward: Any, prompt: Any, max_tokens: int) -> Any:
        scores = forward(prompt, positions=[position(0, index) for index in range(len(prompt))])
        ids: list[int] = []
        for step in range(max_tokens):
            ids.append(int(pick(scores)))
            if again:
                scores = forward([*prompt, *ids], positions=range(len(prompt) + len(ids)))
            else:
                scores = forward([ids[-1]], positions=[position(len(prompt), step)])
        return ids

    return answer


WRONG_GENERATION = {
    "New token 0 is turned for position 15; the one before it stands at 13": generating(
        lambda n, i: n + i + (n > 0)
    ),
    "New token 0 is turned for position 13": generating(lambda n, i: n + i - (n > 0)),
    "New token 1 is turned for position 14; the one before it stands at 14": generating(lambda n, i: n or i),
    "Token 1 of the prompt is turned for position 0": generating(lambda n, i: n + (i if n else 0)),
    "hand over new tokens only": generating(lambda n, i: n + i, again=True),
    "your ids leave those of engine.generate at new token 0": generating(lambda n, i: n + i, pick=np.argmin),
    "ids; 12 are asked for": lambda forward, prompt, n: [
        *prompt,
        *find("03.e2").reference(forward, prompt, n),
    ],
    "2 tokens and 1 positions": lambda forward, prompt, n: forward([1, 2], positions=[0]),
}


def calling(*factors: float, back: Callable[[list[float]], Any] = lambda results: 1.5) -> Callable[..., Any]:
    return lambda perplexity: back([perplexity(factor) for factor in factors])


WRONG_FACTOR = {
    "Factor 1 is the model as it is": calling(back=lambda _: 1),
    "Too much: what is near is squeezed together": calling(back=lambda _: 2),
    "Too little: the farthest distances": calling(back=lambda _: 1.25),
    "which is a perplexity that you measured": calling(1, 1.5, back=min),
    "moves positions apart": calling(back=lambda _: 0.5),
    "one number is asked for": calling(back=lambda _: [1.5, 2]),
    "called more than 12 times": calling(*[1] * 13),
    "factor=0.5 is not allowed": calling(0.5),
}
WRONG = {"03.e1": WRONG_ROTATION, "03.e2": WRONG_GENERATION, "03.e3": WRONG_FACTOR}


@pytest.mark.parametrize("which", WRONG)
def test_the_reference_passes(which: str) -> None:
    assert check(which, find(which).reference).ok


@pytest.mark.parametrize("which", WRONG)
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


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("blank", [None, ..., lambda *arguments: None, lambda *arguments: ..., unfinished])
def test_a_blank_is_not_attempted_yet(which: str, blank: Any) -> None:
    assert repr(check(which, blank)) == "○ not attempted yet"


def test_angles_in_float32_pass_as_the_models_own_do() -> None:
    single = turned(at=np.float32)
    assert rotary_embedding.shift_change(single) > rotary_embedding.shift_change(turned()), "it does round"
    assert check("03.e1", single).ok


def test_the_cache_as_given_is_not_attempted_yet() -> None:
    assert not check("03.e2", as_given).attempted


def test_positions_that_all_begin_later_are_right_too() -> None:
    """Only distances count: a prompt that begins at 100 gives the same ids."""
    assert check("03.e2", generating(lambda n, i: 100 + n + i)).ok


def test_the_best_factor_is_below_that_of_the_paper() -> None:
    perplexities = {factor: linear_factor.measured(factor) for factor in (1.0, 1.25, 1.5, 2.0)}
    assert min(perplexities, key=perplexities.__getitem__) == linear_factor.BEST
    assert perplexities[linear_factor.BEST] < perplexities[1.0] / 2 < perplexities[2.0] < perplexities[1.0]
