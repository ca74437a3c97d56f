"""`explore`: knobs → function → record → widget, live."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from llmwidgets.lab.knobs import make_knob, route
from llmwidgets.lab.runner import Arguments, Runner
from llmwidgets.widgets.figure import RecordFigure
from llmwidgets.widgets.page import write_page
from llmwidgets.widgets.run_status import RunStatus

SHARED_TRAITS = ("step", "selected_request", "selected_block", "layer", "head")
BUSY_AFTER = 0.03  # seconds until work is shown as work: with the way to the page, under a tenth

View = type[RecordFigure]


class Explorer(ipywidgets.VBox):
    """What `explore` returns: the knobs, the line that says what goes on, and the widgets."""

    def __init__(
        self, fn: Callable[..., Any], view: View | Sequence[View] | None, knobs: dict[str, Any]
    ) -> None:
        self._fn = fn
        self.knobs: dict[str, Any] = {name: make_knob(name, value) for name, value in knobs.items()}
        self.status = RunStatus()
        self.record: Any = None
        self.widgets: list[RecordFigure] = []
        self._last: Arguments | None = None
        self._error: Exception | None = None
        self._runner = Runner(self._run)
        self._views = [view] if isinstance(view, type) else list(view or [])
        self._fed: dict[str, RecordFigure] = {}
        super().__init__()
        self._start()

    @property
    def widget(self) -> RecordFigure:
        """The widget, or the first of several."""
        return self.widgets[0]

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
        """Return one page with the widgets as they stand; write it to `path` if given."""
        return write_page(self.widgets, path, title=title)

    def to_text(self) -> str:
        """Return the settings and the widgets in words."""
        settings = ", ".join(f"{name}={knob.value!r}" for name, knob in self.knobs.items())
        return "\n".join([f"explore({settings})", *(widget.to_text() for widget in self.widgets)])

    def _start(self) -> None:
        if not self._views:
            self._views = [self._default_view(self._first_record())]
        routes = route(self._fn, self.knobs, self._views)
        self._arguments = routes.arguments
        if self.record is None:
            self._first_record()
        self.widgets = [view(self.record) for view in self._views]
        self._link_views()
        for name in routes.traits:
            self._link_knob(name, next(w for w in self.widgets if name in w.public_traits()))
        for name in routes.arguments:
            if not isinstance(self.knobs[name], ipywidgets.fixed):
                self.knobs[name].observe(self._submit, "value")
        shown = [knob for knob in self.knobs.values() if not isinstance(knob, ipywidgets.fixed)]
        self._feed_back()
        box = ipywidgets.Box(shown, layout={"flex_flow": "row wrap", "grid_gap": "2px 18px"})
        self.children = [box, self.status, *self.widgets]

    def _first_record(self) -> Any:
        """Call the function for the settings as given; the first refusal is the caller's to see."""
        parameters = inspect.signature(self._fn).parameters
        named = route(self._fn, self.knobs, self._views).arguments if self._views else parameters
        self._last = {name: self.knobs[name].value for name in named if name in self.knobs}
        self.record = self._fn(**self._last)
        return self.record

    @staticmethod
    def _default_view(record: Any) -> View:
        where = getattr(record, "default_view", None)
        if where is None:
            raise ValueError(
                f"{type(record).__name__} has no view of its own; name one: explore(fn, view=...)"
            )
        module, _, name = where.partition(":")
        return getattr(import_module(module), name)  # type: ignore[no-any-return]  # the record names one

    def _link_views(self) -> None:
        first, *others = self.widgets
        for other in others:
            for name in SHARED_TRAITS:
                if first.has_trait(name) and other.has_trait(name):
                    traitlets.link((first, name), (other, name))

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

    def _submit(self, _change: object) -> None:
        knobs = {name: self.knobs[name].value for name in self._arguments}
        fed = {name: getattr(widget, name) for name, widget in self._fed.items()}
        self._runner.submit(knobs | fed)

    def _run(self, arguments: Arguments) -> None:
        """Call the function on the worker thread; the only place where a new record reaches the widgets."""
        if arguments == self._last:
            self._show_idle()
            return
        timer = threading.Timer(BUSY_AFTER, self._show_busy)
        timer.start()
        try:
            record = self._fn(**arguments)
            for widget in self.widgets:
                widget.record = record
        except Exception as error:  # whatever the function raises belongs in the line, not in a lost log
            timer.cancel()
            self._refuse(error)
        else:
            timer.cancel()
            self.record, self._last = record, arguments
            self._show_idle()

    def _refuse(self, error: Exception) -> None:
        self._error = error
        text = str(error) or type(error).__name__
        kind = "" if isinstance(error, (ValueError, traitlets.TraitError)) else f"{type(error).__name__}: "
        with self.status.hold_sync():
            self.status.state, self.status.message = "error", f"{kind}{text}"

    def _show_busy(self) -> None:
        with self.status.hold_sync():
            self.status.state, self.status.message = "busy", "Running the model …"

    def _show_idle(self) -> None:
        with self.status.hold_sync():
            self.status.state, self.status.message = "idle", ""

    def _repr_mimebundle_(self, **options: Any) -> Any:
        made = super()._repr_mimebundle_(**options)
        data = made[0] if isinstance(made, tuple) else made
        return {**data, "text/plain": self.to_text()}

    def __repr__(self) -> str:
        return f"Explorer({', '.join(f'{name}={knob.value!r}' for name, knob in self.knobs.items())})"


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
