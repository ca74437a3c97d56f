"""What the tests of all labs' exercises share: wrong answers, each with the reason that turns it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmwidgets.lab import check

WrongAnswers = Mapping[str, Mapping[str, Callable[..., Any]]]
"""Exercise → words of the reason → the answer."""


def named(wrong: WrongAnswers) -> list[tuple[str, str]]:
    """Return each exercise with each reason, for `parametrize`."""
    return [(which, reason) for which, answers in wrong.items() for reason in answers]


def assert_turned_down(which: str, answer: Callable[..., Any], reason: str) -> None:
    """Assert that an answer is attempted, wrong, told why, and told what to do next."""
    verdict = check(which, answer)
    assert not verdict.ok
    assert verdict.attempted
    assert reason in verdict.message + verdict.next_step, verdict
    assert verdict.next_step
