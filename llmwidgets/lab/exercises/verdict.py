"""`Verdict`: what a check says about an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what to do if it is not."""

    ok: bool
    """Whether the answer is right."""
    message: str
    """What the answer does."""
    next_step: str = ""
    """What to try now; empty if there is nothing."""
    attempted: bool = True
    """Whether there was an answer at all."""

    def __repr__(self) -> str:
        mark = "✓" if self.ok else "✗" if self.attempted else "○"
        return f"{mark} {self.message}" + (f"\n  {self.next_step}" if self.next_step else "")


@dataclass(frozen=True, repr=False)
class DrawnVerdict(Verdict):
    """A verdict with a picture of what the answer does, which a notebook shows below the sentence."""

    figure: Any = field(default=None, compare=False)
    """A widget."""

    def _ipython_display_(self) -> None:
        from IPython.display import display  # only a notebook calls this

        display({"text/plain": repr(self)}, raw=True)
        display(self.figure)


def right(message: str) -> Verdict:
    """Return the verdict on a right answer."""
    return Verdict(True, message)


def wrong(message: str, next_step: str) -> Verdict:
    """Return the verdict on a wrong answer."""
    return Verdict(False, message, next_step)


def not_attempted() -> Verdict:
    """Return the verdict on a blank."""
    return Verdict(False, "not attempted yet", attempted=False)
