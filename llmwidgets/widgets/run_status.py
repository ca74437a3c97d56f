"""`RunStatus`: one line that says what runs, how far it is and what went wrong."""

from __future__ import annotations

import traitlets

from llmwidgets.widgets.figure import Figure


class RunStatus(Figure):
    """The line under the knobs of `explore`; its height does not change while work goes on."""

    stem = "run_status"

    state = traitlets.Enum(["idle", "busy", "error"], "idle").tag(sync=True)
    """What the line shows: nothing, work under way, or why a setting was refused."""

    message = traitlets.Unicode("").tag(sync=True)
    """The sentence that stands in the line."""

    progress = traitlets.Float(None, allow_none=True).tag(sync=True)
    """Share of the work that is done, 0 to 1, or None where it is unknown."""

    can_stop = traitlets.Bool(False).tag(sync=True)
    """Whether a stop button is offered."""

    stop_requested = traitlets.Bool(False).tag(sync=True)
    """Set by the stop button; read between steps."""

    def to_text(self) -> str:
        """Return the line."""
        return f"{self.state}: {self.message}" if self.message else self.state

    def __repr__(self) -> str:
        return f"RunStatus({self.to_text()!r})"
