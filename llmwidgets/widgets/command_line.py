"""`CommandLine`: the command that does in production what the knobs above it do here."""

from __future__ import annotations

import traitlets

from llmwidgets.widgets.figure import Figure


class CommandLine(Figure):
    """One command to read and to copy."""

    stem = "command_line"

    command = traitlets.Unicode("").tag(sync=True)
    """The command, as it is typed into a shell."""

    note = traitlets.Unicode("").tag(sync=True)
    """What the command leaves out, in one sentence; empty if nothing."""

    def to_text(self) -> str:
        """Return the command and the note."""
        return f"{self.command}\n{self.note}" if self.note else self.command

    def __repr__(self) -> str:
        return f"CommandLine({self.command!r})"
