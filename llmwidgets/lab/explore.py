"""`explore`: knobs → function → record → widget, live."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from llmwidgets.lab.knobs import make_knob, route
from llmwidgets.lab.runner import Arguments, Runner
from llmwidgets.lab.work import Control, work_of
from llmwidgets.widgets.command_line import CommandLine
from llmwidgets.widgets.figure import RecordFigure
from llmwidgets.widgets.linked import default_views, link_figures
from llmwidgets.widgets.page import write_page
from llmwidgets.widgets.run_status import RunStatus

BUSY_AFTER = 0.03  # seconds until work is shown as work: with the way to the page, under a tenth

View = type[RecordFigure]


class Explorer(ipywidgets.VBox):
    """What `explore` returns: the knobs, the line that says what goes on, and the widgets."""

    def __init__(
        self, fn: Callable[..., Any], view: View | Sequence[View] | None, knobs: dict[str, Any]
    ) -> None:
        self._fn = fn
        self._work = work_of(fn)
        self.knobs: dict[str, Any] = {name: make_knob(name, value) for name, value in knobs.items()}
        self.status = RunStatus()
        self.command = CommandLine()
        self._record: Any = None
        self.widgets: list[RecordFigure] = []
        self._last: Arguments | None = None
        self._error: Exception | None = None
        self._runner = Runner(self._run)
        self._control = Control(self._runner, self.status)
        self._views = [view] if isinstance(view, type) else list(view or [])
        self._fed: dict[str, RecordFigure] = {}
        super().__init__()
        self._start()

    @property
    def widget(self) -> RecordFigure:
        """The widget, or the first of several."""
        return self.widgets[0]

    @property
    def record(self) -> Any:
        """The record that is shown; waits for the run under way, so that it is a whole one."""
        self._runner.wait()
        return self._record

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs and nothing is queued; return whether that was reached."""
        return self._runner.wait(timeout)

    def update(self, **settings: Any) -> None:
        """Set knobs from code and wait for the picture.

        Raises:
            ValueError: for an unknown knob, or a setting that is refused; the last good picture stays.
        """
        for name in settings:
            if name not in self.knobs:
                raise ValueError(f"{name} is no knob; there are {', '.join(self.knobs)}")
        self._error = None
        for name, value in settings.items():
            knob = self.knobs[name]
            try:
                knob.value = value
            except traitlets.TraitError as error:
                raise ValueError(f"{name}={value!r} is refused: {error}") from error
            if knob.value != value:  # a slider moves a value that it cannot show to its nearest end
                raise ValueError(f"{name}={value!r} is out of the knob's range; it went to {knob.value!r}")
        self._runner.wait()
        if self._error:
            raise ValueError(str(self._error)) from self._error

    def to_html(self, path: str | Path | None = None, *, title: str = "llmwidgets") -> str:
        """Return one page with the widgets, once nothing runs; write it to `path` if given."""
        self._runner.wait()
        return write_page(self.widgets, path, title=title)

    def to_text(self) -> str:
        """Return the settings and the widgets in words."""
        return "\n".join([f"explore({self._settings()})", *(widget.to_text() for widget in self.widgets)])

    def _start(self) -> None:
        if not self._views:
            self._first_record(inspect.signature(self._fn).parameters)
            self._views = default_views(self._record)
        routes = route(self._fn, self.knobs, self._views)
        self._arguments = routes.arguments
        if self._last is None or self._last.keys() != set(routes.arguments):
            self._first_record(routes.arguments)
        self.widgets = [view(self._record) for view in self._views]
        link_figures(self.widgets)
        for name in routes.traits:
            self._link_knob(name, next(w for w in self.widgets if name in w.public_traits()))
        for name in routes.arguments:
            knob = self.knobs[name]
            if not isinstance(knob, ipywidgets.fixed):
                knob.observe(self._submit, "value")
                if name in self._work.vllm_defaults:
                    knob.description = f"{name} (vLLM: {self._work.vllm_defaults[name]})"
        self._feed_back()
        box = ipywidgets.Box(
            list(self._turning().values()), layout={"flex_flow": "row wrap", "grid_gap": "2px 18px"}
        )
        commands = [self.command] if self._show_command() else []
        self.children = [box, *commands, self.status, *self.widgets]
        if not self._work.first_is_whole:
            self._last = None
            self._submit()

    def _first_record(self, names: Iterable[str]) -> None:
        """Call the function for the settings as given; the first refusal is the caller's to see."""
        self._last = {name: self.knobs[name].value for name in names if name in self.knobs}
        self._record = self._work.first(self._last)

    def _link_knob(self, name: str, widget: RecordFigure) -> None:
        """Let knob and trait follow each other; a value that the view refuses leaves the picture as it is."""
        knob = self.knobs[name]

        def to_view(_change: object = None) -> None:
            try:
                setattr(widget, name, knob.value)
            except (ValueError, traitlets.TraitError) as error:
                self._refuse(error)
            else:
                self._show_idle()

        def to_knob(change: Any) -> None:
            if knob.value != change["new"]:
                knob.value = change["new"]

        to_view()
        if isinstance(knob, ipywidgets.fixed):
            return
        knob.observe(to_view, "value")
        widget.observe(to_knob, name)

    def _feed_back(self) -> None:
        """Hand what the user picks in a view to the function, where it has an argument of that name."""
        for widget in self.widgets:
            for name in widget.trait_names(feeds=True):
                if name in inspect.signature(self._fn).parameters and name not in self.knobs:
                    self._fed[name] = widget
                    self._last = {**(self._last or {}), name: getattr(widget, name)}
                    widget.observe(self._submit, name)

    def _submit(self, _change: object = None) -> None:
        knobs = {name: self.knobs[name].value for name in self._arguments}
        fed = {name: getattr(widget, name) for name, widget in self._fed.items()}
        self._show_command()
        for widget in self.widgets:
            widget.foresee(knobs)
        self._runner.submit(knobs | fed)

    def _run(self, arguments: Arguments) -> None:
        """Do the work on the worker thread."""
        if arguments == self._last:
            self._show_idle()
            return
        self.status.stop_requested = False
        timer = threading.Timer(BUSY_AFTER, self._show_busy)
        timer.start()
        try:
            outcome = self._work.run(arguments, self._show, self._control)
        except Exception as error:  # whatever the function raises belongs in the line, not in a lost log
            timer.cancel()
            self._refuse(error)
        else:
            timer.cancel()
            self._last = arguments if outcome.whole else None
            self._show_idle(outcome.message)

    def _show(self, record: Any) -> None:
        """Hand a record to the widgets: the only place where one reaches them."""
        for widget in self.widgets:
            widget.record = record
        self._record = record

    def _show_command(self) -> bool:
        """Say the settings as a command; return whether there is one."""
        command = self._work.command({name: self.knobs[name].value for name in self._arguments})
        if command is not None:
            with self.command.hold_sync():
                self.command.command, self.command.note = command.line, command.note
        return command is not None

    def _refuse(self, error: Exception) -> None:
        self._error = error
        text = str(error) or type(error).__name__
        kind = "" if isinstance(error, (ValueError, traitlets.TraitError)) else f"{type(error).__name__}: "
        with self.status.hold_sync():
            self.status.state, self.status.message = "error", f"{kind}{text}"
            self.status.progress, self.status.can_stop = None, False

    def _show_busy(self) -> None:
        with self.status.hold_sync():
            self.status.state, self.status.message = "busy", "Running the model …"

    def _show_idle(self, message: str = "") -> None:
        with self.status.hold_sync():
            self.status.state, self.status.message = "idle", message
            self.status.progress, self.status.can_stop = None, False

    def _repr_mimebundle_(self, **options: Any) -> Any:
        made = super()._repr_mimebundle_(**options)
        data = made[0] if isinstance(made, tuple) else made
        return {**data, "text/plain": self.to_text()}

    def __repr__(self) -> str:
        return f"Explorer({self._settings()})"

    def _settings(self) -> str:
        knobs = self._turning().items()
        return ", ".join(f"{name}={knob.value!r}" for name, knob in knobs)

    def _turning(self) -> dict[str, Any]:
        """Return the knobs that are not fixed."""
        return {n: knob for n, knob in self.knobs.items() if not isinstance(knob, ipywidgets.fixed)}


def explore(fn: Callable[..., Any], view: View | Sequence[View] | None = None, **knobs: Any) -> Explorer:
    """Put knobs before a function and show the record that it returns; each turn of a knob shows the next.

    Args:
        fn: any function that returns a record, such as `engine.attend`.
        view: the widget class that draws the record, or a list of them, which share step, layer, head and
            selection; by default the record's own.
        knobs: `ipywidgets.interact`'s abbreviations: a tuple is a slider, a list a dropdown, a bool a
            checkbox, a str a text box; any ipywidget as it is; `fixed(x)` stays. A knob named in `fn`'s
            signature is passed to it; one that is a public trait of the view is linked to it, and `fn` is
            not called.

    Raises:
        ValueError: for a knob that neither `fn` nor the view knows, or a first setting that is refused.
    """
    return Explorer(fn, view, knobs)
