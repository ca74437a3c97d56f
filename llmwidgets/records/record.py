"""`Record`: a frozen dataclass that shows itself in a notebook and goes to disk without pickle.

Not here: the file format, which is in `archive`.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from os import PathLike
from typing import Any, ClassVar

import numpy as np


class Record:
    """Base of what an engine returns; subclasses are `@dataclass(frozen=True, eq=False, repr=False)`.

    Fields hold None, bool, int, float, str, tuples of these, dicts with str keys, numpy arrays of numbers,
    and other records; nothing else, so that each record can be saved.
    """

    __slots__ = ()

    default_view: ClassVar[str | tuple[str, ...] | None] = None
    """`"module:Class"` of the widget that draws this record, several for widgets below each other with linked
    selections, or None; resolved when displayed."""

    def __repr__(self) -> str:
        """Return one short line that is the same in each run."""
        shown = [f"{field.name}={_short(getattr(self, field.name))}" for field in fields(self)]  # type: ignore[arg-type]  # each subclass is a dataclass
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_text(self) -> str:
        """Return what `text/plain` shows: the `repr`, and in some records a few lines more."""
        return repr(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the record to one file, whole or not at all; `load_record` reads it back.

        Args:
            path: the file; an existing one is replaced.
        """
        from llmwidgets.records.archive import write_record

        write_record(self, path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """Return the default view's MIME bundle, or only `text/plain` where no widget can be made."""
        text = {"text/plain": self.to_text()}
        if self.default_view is None:
            return text
        try:
            # By name, since records import nothing of the project.
            widget = import_module("llmwidgets.widgets.linked").figure_of(self)
            return widget._repr_mimebundle_(include=include, exclude=exclude) or text
        except Exception:  # display must not fail: without anywidget, or outside a notebook, the text stands
            return text


def load_record(path: str | PathLike[str]) -> Any:
    """Read a record that `Record.save` wrote; safe for files from strangers.

    Args:
        path: the file.

    Returns:
        The record, equal in every field to the one that was saved.

    Raises:
        ValueError: if the file is no record, is damaged, is of a newer version, or is implausibly large.
        OSError: if the file cannot be read.
    """
    from llmwidgets.records.archive import read_record

    return read_record(path)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {'×'.join(map(str, value.shape))}>"
    if isinstance(value, tuple) and len(value) > 4:
        return f"<{len(value)} items>"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
