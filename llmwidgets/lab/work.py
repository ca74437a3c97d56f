"""How settings become records: at once, or over many steps that are shown as they come."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from llmwidgets.lab.runner import Arguments, Runner
from llmwidgets.widgets.run_status import RunStatus


@dataclass(frozen=True)
class Outcome:
    """How a run of the work ended."""

    whole: bool = True
    """Whether all of the record is shown; else it ended before."""
    message: str = ""
    """What the user should know, in one sentence; empty if nothing."""


@dataclass(frozen=True)
class Command:
    """Settings as a command for production."""

    line: str
    note: str = ""
    """What the command leaves out; empty if nothing."""


Show = Callable[[Any], None]
"""Hands a record to the widgets."""


class Control:
    """What work that takes long asks and tells between its steps."""

    def __init__(self, runner: Runner, status: RunStatus) -> None:
        self._runner, self._status = runner, status

    @property
    def stop_asked(self) -> bool:
        """Whether the user has pressed stop."""
        return bool(self._status.stop_requested)

    @property
    def superseded(self) -> bool:
        """Whether newer settings wait, or the user wants a stop: the work should end now."""
        return self._runner.newer or self.stop_asked

    def settle(self, seconds: float) -> bool:
        """Wait for a moment without newer settings; return whether there was one."""
        return self._runner.settle(seconds)

    def progress(self, share: float, message: str) -> None:
        """Say how far the work is, from 0 to 1, and offer a stop."""
        with self._status.hold_sync():
            self._status.state, self._status.message = "busy", message
            self._status.progress, self._status.can_stop = share, True


class Work(Protocol):
    """A function behind knobs."""

    vllm_defaults: dict[str, str]
    """What vLLM sets where nothing is said, by knob; empty where vLLM has no such knobs."""
    first_is_whole: bool
    """Whether `first` already returns all that `run` would show."""

    def first(self, arguments: Arguments) -> Any:
        """Return a record to make the widgets with, soon."""

    def run(self, arguments: Arguments, show: Show, control: Control) -> Outcome:
        """Show records until all is shown, or until `control` says that the work is superseded."""

    def command(self, arguments: Arguments) -> Command | None:
        """Return the same settings as a command; None if there is none."""


class PlainWork:
    """A function that returns its record when all is done."""

    first_is_whole = True

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.vllm_defaults: dict[str, str] = {}
        self._fn = fn

    def first(self, arguments: Arguments) -> Any:
        """Call the function."""
        return self._fn(**arguments)

    def run(self, arguments: Arguments, show: Show, control: Control) -> Outcome:
        """Call the function and show its record."""
        show(self._fn(**arguments))
        return Outcome()

    def command(self, arguments: Arguments) -> Command | None:
        """Return None: nothing is known of the function."""
        return None


def work_of(fn: Callable[..., Any]) -> Work:
    """Return how `explore` runs a function: step by step for `Engine.serve`, also inside a `partial`."""
    inner = fn.func if isinstance(fn, functools.partial) else fn
    owner = getattr(inner, "__self__", None)
    if getattr(inner, "__name__", "") == "serve" and hasattr(owner, "serve_steps"):
        from llmwidgets.lab.serve_work import ServeWork

        given = (fn.args, fn.keywords) if isinstance(fn, functools.partial) else ((), {})
        return ServeWork(owner, *given)
    return PlainWork(fn)
