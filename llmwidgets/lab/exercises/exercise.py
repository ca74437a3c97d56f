"""`Exercise`: what a lab asks for, and how an answer is judged; `Sheet`: text that a cell shows."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, wrong


@dataclass(frozen=True)
class Sheet:
    """A heading and some Markdown; plain text stands wherever Markdown is not shown."""

    heading: str
    body: str

    def __repr__(self) -> str:
        return f"{self.heading}\n\n{self.body}"

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/markdown": f"**{self.heading}**\n\n{self.body}"}


@dataclass(frozen=True)
class Exercise:
    """One exercise whose answer is a function."""

    id: str
    title: str
    minutes: int
    task: str
    """Markdown."""
    hints: tuple[str, str, str]
    """From a nudge to nearly the answer; Markdown."""
    reference: Callable[..., Any]
    """A right answer; its source is the solution that a learner is shown."""
    judge: Callable[[Callable[..., Any]], Verdict] = field(repr=False)
    """Says what an answer does right or wrong; errors of the answer may pass through it."""

    @property
    def solution(self) -> str:
        """The source of the reference."""
        return inspect.getsource(self.reference).strip()

    def verdict(self, answer: Any) -> Verdict:
        """Judge an answer; whatever goes wrong in it becomes part of the verdict."""
        if not callable(answer):
            return wrong(
                f"This is {_kind(answer)}, but the task asks for a function.",
                "Hand over the function itself, without calling it.",
            )
        try:
            return self.judge(answer)
        except NotImplementedError:
            return not_attempted()
        except (Exception, SystemExit) as error:
            return wrong(f"Your code raised {_what(error)}{_where(error)}.", "Mend that first, then check.")


def _kind(answer: Any) -> str:
    name = type(answer).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def _what(error: BaseException) -> str:
    text = " ".join(str(error).split())
    short = text if len(text) <= 200 else text[:199] + "…"
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _where(error: BaseException) -> str:
    """Return the learner's line: the last one that is in a notebook's cell."""
    frames = traceback.extract_tb(error.__traceback__)
    cells = [frame for frame in frames if "ipykernel" in frame.filename or "<ipython" in frame.filename]
    return f", in line {cells[-1].lineno} of its cell" if cells else ""
