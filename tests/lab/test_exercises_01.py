"""Lab 01: wrong answers are turned down for their own reasons, and checks are held against the engine."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llmwidgets.engine.text import StopStrings
from llmwidgets.lab import check
from llmwidgets.lab.exercises import nucleus, sampled_frequencies, stop_string
from llmwidgets.records.sampling_stages import keep_top_p
from tests.lab.exercise_cases import assert_turned_down, named


def loop(
    choose: Callable[..., Any] = np.argmax,
    see: Callable[[list[int]], Any] = lambda sequence: sequence,
    append: bool = True,
    extra: int = 0,
    past_end: bool = False,
    keep_end: bool = True,
    keep_prompt: bool = False,
    copy: bool = True,
    passes: int = 1,
) -> Callable[..., Any]:
    def answer(next_logits: Any, prompt: list[int], max_tokens: int, end: int) -> Any:
        sequence, new = (list(prompt) if copy else prompt), []
        for _ in range(max_tokens + extra):
            for _ in range(passes):
                logits = next_logits(see(sequence))
            token = int(choose(logits))
            if token == end and not keep_end:
                break
            new.append(token)
            if append:
                sequence.append(token)
            if token == end and not past_end:
                break
        return [*prompt, *new] if keep_prompt else new

    return answer


def top_p(
    ascending: bool = False, needed: Callable[[Any, float], Any] | None = None, back: bool = True
) -> Callable[..., Any]:
    def answer(probabilities: Any, p: float) -> Any:
        order = np.argsort(probabilities if ascending else -probabilities, kind="stable")
        sums = np.cumsum(probabilities[order])
        number = needed(sums, p) if needed else np.searchsorted(sums, p) + 1
        keep = np.zeros(len(order), dtype=bool)
        keep[order[:number] if back else slice(number)] = True
        return keep & (probabilities > 0) if back else keep

    return answer


def zeros_too(probabilities: Any, p: float) -> Any:
    return top_p()(probabilities, p) | (probabilities == 0) & (p == 1)


def ties_too(probabilities: Any, p: float) -> Any:
    return probabilities >= probabilities[top_p()(probabilities, p)].min()


def draws(
    weigh: Callable[[Any, float], Any] = lambda logits, T: np.exp((logits - logits.max()) / T),
    number: Callable[[Any], float] = lambda rng: rng.random(),
    shift: int = 0,
) -> Callable[..., Any]:
    def answer(logits: Any, temperature: float, rng: Any) -> Any:
        weights = weigh(logits, temperature)
        ends = np.cumsum(weights / weights.sum())
        token = int(np.searchsorted(ends, number(rng), side="right")) + shift
        return token % len(logits)

    return answer


def whole(
    per_piece: bool = False,
    hold: Callable[[str, str], int] | None = None,
    flush: bool = True,
    show: int = 0,
    read_on: bool = False,
) -> Callable[..., Any]:
    """Return a right answer to the stop string, or one that errs in one way."""

    def longest(text: str, stop: str) -> int:
        return max(n for n in range(len(stop)) if text.endswith(stop[:n]))

    def answer(pieces: Any, stop: str) -> Any:
        held, over = "", False
        for piece in pieces:
            if over:
                continue
            held = piece if per_piece else held + piece
            if stop in held:
                yield held[: held.index(stop) + show]
                over = True
                if not read_on:
                    return
                continue
            keep = 0 if per_piece else min(len(held), (hold or longest)(held, stop))
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
        if flush and not over and not per_piece:
            yield held

    return answer


def matched_so_far(pieces: Any, stop: str) -> Any:
    """Compare letter by letter, and begin anew after one that does not match: misses `aab` in `aaab`."""
    matched = 0
    for piece in pieces:
        out = ""
        for letter in piece:
            if letter == stop[matched]:
                matched += 1
                if matched == len(stop):
                    yield out
                    return
            else:
                out += stop[:matched] + letter
                matched = 0
        yield out
    yield stop[:matched]


WRONG_LOOP = {
    "the prompt is in it": loop(keep_prompt=True),
    "the end token 0 is missing": loop(keep_end=False),
    "one token more than max_tokens": loop(extra=1),
    "the first new token over and over": loop(append=False),
    "each pass saw the last token only": loop(see=lambda sequence: sequence[-1:]),
    "it goes on past the end token": loop(past_end=True),
    "You changed the prompt": loop(copy=False),
    "6 new tokens took 12 forward passes": loop(passes=2),
    "largest logit": loop(choose=np.argmin),
    "raised TypeError": lambda next_logits, prompt, max_tokens, end: 3,
}
WRONG_TOP_P = {
    "the sum passes p is missing": top_p(needed=lambda sums, p: np.searchsorted(sums, p, side="right")),
    "the sum reaches p is missing": top_p(needed=lambda sums, p: np.searchsorted(sums, p)),
    "one token more than needed": top_p(needed=lambda sums, p: np.searchsorted(sums, p, side="right") + 1),
    "at their places in the sorted order": top_p(back=False),
    "the least probable tokens come first": top_p(ascending=True),
    "tokens of probability 0 stay": zeros_too,
    "all tokens as probable as the last one": ties_too,
    "this is min-p": lambda probabilities, p: probabilities >= p * probabilities.max(),
    "nothing stays": lambda probabilities, p: np.zeros(len(probabilities), dtype=bool),
    "fewer would do": lambda probabilities, p: probabilities > 0,
    "adds up to": lambda probabilities, p: probabilities == probabilities.max(),
    "more probable than one that stays": lambda probabilities, p: probabilities != np.sort(probabilities)[-2],
    "an array of dtype bool": lambda probabilities, p: probabilities,
}
WRONG_DRAW = {
    "The temperature has no effect": draws(lambda logits, T: np.exp(logits - logits.max())),
    "the wrong way round": draws(lambda logits, T: np.exp((logits - logits.max()) * T)),
    "Every token is equally probable": draws(lambda logits, T: np.ones(len(logits))),
    "The logits themselves": draws(lambda logits, T: logits),
    "one token too far": draws(shift=1),
    "one token too early": draws(shift=-1),
    "exp of a large number overflows": draws(lambda logits, T: np.exp(logits / T)),
    "draws give token 1": lambda logits, temperature, rng: int(np.argmax(logits)),
    "Take every random number from rng": draws(number=lambda rng: random.random()),
    "Return one whole number": lambda logits, temperature, rng: logits,
    "Your frequencies are": draws(number=lambda rng: rng.random() ** 2),
    "raised AttributeError": draws(number=lambda rng: rng.uniformly()),
}
WRONG_STOP = {
    "the stop string itself is shown": whole(show=3),
    "'E' of the stop string is shown": whole(show=1),
    "'E' may become the stop string": whole(per_piece=True),
    "'EN' may become the stop string": whole(hold=lambda text, stop: int(text[-1:] == stop[0])),
    "the reader waits": whole(hold=lambda text, stop: len(stop) - 1),
    "after 1 pieces 'one'": lambda pieces, stop: list(whole()(pieces, stop)),
    "is never shown": whole(flush=False),
    "each further piece is a forward pass": whole(read_on=True),
    "you have shown 'an EN or ENE'": matched_so_far,
    "Yield text: a str": lambda pieces, stop: (len(piece) for piece in pieces),
    "in its order": lambda pieces, stop: (2 * piece for piece in pieces),
}
WRONG = {"01.e1": WRONG_LOOP, "01.e2": WRONG_TOP_P, "01.e3": WRONG_DRAW, "01.e4": WRONG_STOP}


@pytest.mark.parametrize(("which", "reason"), named(WRONG))
def test_a_wrong_answer_is_turned_down_for_its_own_reason(which: str, reason: str) -> None:
    assert_turned_down(which, WRONG[which][reason], reason)


RIGHT = {
    "a loop over arrays": ("01.e1", loop(see=np.array)),
    "ties the other way": (
        "01.e2",
        lambda probabilities, p: top_p()(probabilities[::-1], p)[::-1],
    ),
    "NumPy's own choice": (
        "01.e3",
        lambda logits, T, rng: rng.choice(len(logits), p=sampled_frequencies.softmax(logits / T)),
    ),
    "Gumbel's trick": (
        "01.e3",
        lambda logits, T, rng: int(np.argmax(logits / T + rng.gumbel(size=len(logits)))),
    ),
    "a generator of our own": ("01.e4", whole()),
}


@pytest.mark.parametrize("which", RIGHT)
def test_another_right_answer_passes(which: str) -> None:
    verdict = check(*RIGHT[which])
    assert verdict.ok, verdict


def test_top_p_is_the_engine_s() -> None:
    for row in nucleus.rows()[-nucleus.NUM_ROWS :]:
        if row.p < 1:  # with 1 the engine leaves the stage out
            with np.errstate(divide="ignore"):
                kept = np.isfinite(keep_top_p(np.log(row.probabilities), row.p))
            assert kept.sum() == nucleus.keep_top_p(row.probabilities, row.p).sum()


def test_the_p_value_is_that_of_the_tables() -> None:
    """Pearson's chi-square at 5%: 3.841 with one degree of freedom, 7.815 with three."""
    one = sampled_frequencies.p_value(np.array([50 + 9.8, 50 - 9.8]), np.array([0.5, 0.5]))
    assert one == pytest.approx(0.05, abs=2e-4)  # 2 * 9.8**2 / 50 = 3.84
    far = np.sqrt(7.815 * 25 / 4)
    three = sampled_frequencies.p_value(np.array([25 + far, 25 - far, 25 + far, 25 - far]), np.full(4, 0.25))
    assert three == pytest.approx(0.05, abs=2e-4)


def test_what_can_be_shown_is_what_the_engine_shows() -> None:
    for letters in itertools.product("ab", repeat=7):
        for stop in ("b", "ab", "aab", "abab"):
            engine, shown = StopStrings((stop,)), ""
            for place, letter in enumerate(letters, start=1):
                if engine.found is None:
                    shown += engine.push(letter)
                assert shown == stop_string.safe_text("".join(letters[:place]), stop)
