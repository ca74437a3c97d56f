"""Exercise 01.e4: a stop string that comes in pieces, seen in time and never shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong


@dataclass(frozen=True)
class Case:
    """The text of each token, and the string that ends the text."""

    pieces: tuple[str, ...]
    stop: str


CASES = (
    Case(("one", " two", " three"), "END"),
    Case(("one ", "END", " two"), "END"),
    Case(("one E", "N", "D two", " three"), "END"),
    Case(("an EN", " or ENE", " and", " so on"), "END"),
    Case(("a", "a", "a", "b", "c"), "aab"),
    Case(("so it is EN",), "END"),
    Case(("", "x\n", "\n", "y"), "\n\n"),
    Case(("END", " two"), "END"),
    Case(("first\nUser", ": ", "hello"), "\nUser:"),
)

TASK = """Write `until(pieces, stop)`: what an engine does with `stop=`.

- `pieces` gives the text of one new token after the other. For each of them `yield` the text that can be
  shown now (`""` if there is none yet).
- Nothing from the stop string on is ever shown, not even its beginning: the string may be spread over
  several pieces. So hold back what may become the stop string, **and no more than that**: a reader waits
  for it.
- Once the stop string is there, `return` and take no further piece, for each one costs a forward pass.
- If the pieces end without it, `yield` what you held back.

The check looks at each step at what has been shown, in nine texts."""

HINTS = (
    "Keep the text that is not shown yet in one string. Add each piece to it, and look for `stop` in all "
    "of it, not in the piece.",
    "How much to hold back: the longest end of the text that is a beginning of `stop`. "
    "`text.endswith(stop[:n])` says it for one `n`; try all from long to short, below `len(stop)`.",
    "For each piece: `held += piece`; `if stop in held:` yield what is before it and return; else `keep ="
    " max(n for n in range(len(stop)) if held.endswith(stop[:n]))`, yield `held[:len(held) - keep]` and "
    "keep the rest. After the loop yield `held`.",
)


def until(pieces, stop):  # type: ignore[no-untyped-def]  # shown to learners
    """Yield for each piece the text that can be shown; end before the stop string."""
    held = ""
    for piece in pieces:
        held += piece
        if stop in held:
            yield held[: held.index(stop)]
            return
        keep = max(n for n in range(len(stop)) if held.endswith(stop[:n]))
        yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    yield held


def safe_text(text: str, stop: str) -> str:
    """Return how much of a text so far can be shown: up to the stop string, or to what may become it."""
    if stop in text:
        return text[: text.index(stop)]
    keep = next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
    return text[: len(text) - keep]


@dataclass
class Watch:
    """Hands out a case's pieces, and compares what is shown with what could be."""

    case: Case
    taken: int = 0
    """Pieces handed out so far."""
    shown: str = ""
    late: str = ""
    """What was first not shown though it could be, in words; empty if nothing was."""

    def pieces(self) -> Iterator[str]:
        """Give one piece after the other."""
        for piece in self.case.pieces:
            self._note_late()
            self.taken += 1
            yield piece
        self._note_late()

    @property
    def text(self) -> str:
        """The text of the pieces handed out."""
        return "".join(self.case.pieces[: self.taken])

    @property
    def safe(self) -> str:
        """What could be shown now."""
        return safe_text(self.text, self.case.stop)

    def _note_late(self) -> None:
        if not self.late and len(self.shown) < len(self.safe):
            self.late = f"after {self.taken} pieces {self.safe[len(self.shown) :]!r}"


def judge(answer: Callable[..., Any]) -> Verdict:
    """Watch an answer in each case."""
    for case in CASES:
        watch = Watch(case)
        given = answer(watch.pieces(), case.stop)
        if given is None or given is ...:
            return not_attempted()
        verdict = _follow(given, watch)
        if verdict is not None:
            return verdict
    return right(
        "nothing of the stop string is shown, and nothing waits longer than it must: "
        f"{len(CASES)} of {len(CASES)} texts"
    )


def _follow(given: Any, watch: Watch) -> Verdict | None:
    case = watch.case
    call = f"With the pieces {list(case.pieces)} and stop={case.stop!r}"
    for text in given:
        if not isinstance(text, str):
            return wrong(
                f"{call} you yield {text!r}.", "Yield text: a str, empty if there is nothing to show."
            )
        watch.shown += text
        # At the end of the pieces what was held back is shown; until then only what is safe.
        allowed = (
            watch.text if watch.taken == len(case.pieces) and case.stop not in watch.text else watch.safe
        )
        if not allowed.startswith(watch.shown):
            return _shown_too_much(call, watch, allowed)
    if case.stop in "".join(case.pieces):
        return _stopped(call, watch)
    if watch.shown != watch.text:
        return wrong(
            f"{call} the end {watch.text[len(watch.shown) :]!r} is never shown.",
            "No stop string came, so what you held back is text: yield it after the loop.",
        )
    return _waited(call, watch)


def _shown_too_much(call: str, watch: Watch, allowed: str) -> Verdict:
    stop, extra = watch.case.stop, watch.shown[len(allowed) :]
    if not watch.shown.startswith(allowed) or not watch.text.startswith(watch.shown):
        return wrong(
            f"{call} you have shown {watch.shown!r}.", "Show each piece of the text once, in its order."
        )
    if stop in watch.shown:
        return wrong(
            f"{call} the stop string itself is shown.",
            "Show only what comes before it. Look for it in all text that is not shown yet: it may begin in "
            "one piece and end in another.",
        )
    if stop in watch.text:
        return wrong(f"{call} {extra!r} of the stop string is shown.", "Show only what comes before it.")
    return wrong(
        f"{call} you have shown {watch.shown!r} after {watch.taken} pieces, but {extra!r} may become the "
        "stop string.",
        "Hold back the longest end of the text that is a beginning of the stop string.",
    )


def _stopped(call: str, watch: Watch) -> Verdict | None:
    before = safe_text("".join(watch.case.pieces), watch.case.stop)
    needed = next(
        n for n in range(len(watch.case.pieces) + 1) if watch.case.stop in "".join(watch.case.pieces[:n])
    )
    if watch.taken > needed:
        return wrong(
            f"{call} you take {watch.taken} pieces, though the stop string is there after {needed}.",
            "Return once it is there: each further piece is a forward pass.",
        )
    if watch.shown != before:
        return wrong(
            f"{call} you show {watch.shown!r}; before the stop string comes {before!r}.",
            "Show what comes before the stop string, then return.",
        )
    return _waited(call, watch)


def _waited(call: str, watch: Watch) -> Verdict | None:
    if not watch.late:
        return None
    return wrong(
        f"{call} the reader waits: {watch.late} could be shown and is not.",
        "Yield after each piece, and hold back only an end that is a beginning of the stop string.",
    )


EXERCISE = Exercise("01.e4", "Stop in time", 15, TASK, HINTS, until, judge)
