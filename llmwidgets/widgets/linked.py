"""Several figures of one record, below each other, with their selections linked."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from llmwidgets.widgets.figure import RecordFigure
from llmwidgets.widgets.page import write_page

SHARED_TRAITS = ("step", "selected_request", "selected_block", "layer", "head")


class LinkedFigures(ipywidgets.VBox):
    """What a record with several default views is drawn by."""

    def __init__(self, figures: Sequence[RecordFigure]) -> None:
        self.figures = list(figures)
        link_figures(self.figures)
        super().__init__(children=self.figures, layout={"grid_gap": "10px"})

    def to_html(self, path: str | Path | None = None, *, title: str = "llmwidgets") -> str:
        """Return one page with the figures; write it to `path` if given."""
        return write_page(self.figures, path, title=title)

    def to_text(self) -> str:
        """Return the figures in words."""
        return "\n\n".join(figure.to_text() for figure in self.figures)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        made = super()._repr_mimebundle_(**options)
        data = made[0] if isinstance(made, tuple) else made
        return {**data, "text/plain": self.to_text()}

    def __repr__(self) -> str:
        return f"LinkedFigures({', '.join(map(repr, self.figures))})"


def link_figures(figures: Sequence[RecordFigure]) -> None:
    """Let what is selected in one figure be selected in all that have a trait of that name."""
    first, *others = figures
    for other in others:
        for name in SHARED_TRAITS:
            if first.has_trait(name) and other.has_trait(name):
                traitlets.link((first, name), (other, name))


def default_views(record: Any) -> list[type[RecordFigure]]:
    """Return the widget classes that draw a record, as it names them.

    Raises:
        ValueError: if it names none.
    """
    named = getattr(record, "default_view", None)
    if named is None:
        raise ValueError(f"{type(record).__name__} has no view of its own; name one: explore(fn, view=...)")
    places = (named,) if isinstance(named, str) else named
    parts = [place.partition(":") for place in places]
    return [getattr(import_module(module), name) for module, _, name in parts]


def figure_of(record: Any) -> RecordFigure | LinkedFigures:
    """Return a record's default view, or its views linked below each other."""
    figures = [view(record) for view in default_views(record)]
    return figures[0] if len(figures) == 1 else LinkedFigures(figures)
