"""Exercises of the labs: a task, a check that says what to do next, three hints, a solution."""

from __future__ import annotations

from typing import Any

from llmwidgets.lab.exercises.catalogue import find
from llmwidgets.lab.exercises.exercise import Exercise, Sheet
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted
from llmwidgets.lab.progress import Progress

__all__ = ["Exercise", "Sheet", "Verdict", "check", "exercise", "hint", "solution"]


def exercise(id: str) -> Sheet:  # noqa: A002  # the name that a learner reads
    """Return the task of an exercise, such as `"02.e1"`, to show at the end of a cell.

    Raises:
        ValueError: if there is no such exercise.
    """
    found = find(id)
    return Sheet(f"Exercise {id}: {found.title} ({found.minutes} min)", found.task)


def check(id: str, answer: Any = None) -> Verdict:  # noqa: A002
    """Return whether an answer is right, what happened if not, and what to do next.

    An error in the answer is part of the verdict; only an unknown `id` raises.

    Args:
        id: the exercise, such as `"02.e1"`.
        answer: what the task asks for; None or `...` counts as not attempted yet.

    Raises:
        ValueError: if there is no such exercise.
    """
    found = find(id)
    verdict = not_attempted() if answer is None or answer is ... else found.verdict(answer)
    if verdict.attempted:
        progress = Progress()
        before = progress.get(id)
        attempts = int(before.get("attempts", 0)) + 1
        progress.update(id, attempts=attempts, passed=verdict.ok or bool(before.get("passed")))
    return verdict


def hint(id: str, level: int | None = None) -> Sheet:  # noqa: A002
    """Return the next of an exercise's three hints, or the one of `level` 1 to 3.

    Raises:
        ValueError: if there is no such exercise or level.
    """
    found = find(id)
    if level is None:
        level = min(int(Progress().get(id).get("hints", 0)) + 1, 3)
    if level not in (1, 2, 3):
        raise ValueError(f"level={level!r} is not allowed; allowed are 1, 2 and 3")
    Progress().update(id, hints=level)
    after = f'Still stuck? `solution("{id}")` shows one way.' if level == 3 else "Call it again for more."
    return Sheet(f"Hint {level} of 3 for {id}", f"{found.hints[level - 1]}\n\n{after}")


def solution(id: str) -> Sheet:  # noqa: A002
    """Return the code of one right answer.

    Raises:
        ValueError: if there is no such exercise.
    """
    return Sheet(f"A solution of {id}", f"```python\n{find(id).solution}\n```")
