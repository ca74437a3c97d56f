"""Turns `ipywidgets.interact`'s abbreviations into knobs, and says where each knob's value goes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from llmwidgets.widgets.figure import Figure


@dataclass(frozen=True)
class Routes:
    """Which knobs are arguments of the function and which are traits of the view."""

    arguments: tuple[str, ...]
    traits: tuple[str, ...]


def make_knob(name: str, value: Any) -> Any:
    """Return the ipywidget for an abbreviation; raise `ValueError` for one that has no widget.

    A tuple is a slider, a list a dropdown, a bool a checkbox, a str a text box that acts on Enter or when
    it is left; any ipywidget and `fixed(x)` stay as they are.
    """
    if isinstance(value, (ipywidgets.ValueWidget, ipywidgets.fixed)):
        return value
    try:
        knob = ipywidgets.interactive.widget_from_abbrev(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r} makes no slider: {error}") from error
    if knob is None:
        raise ValueError(
            f"{name}={value!r} makes no knob; allowed are a tuple (slider), a list (dropdown), a bool, a "
            "str, a number, an ipywidget, or fixed(value)"
        )
    knob.description = name
    knob.style.description_width = "initial"
    if isinstance(value, str):
        knob.continuous_update = False
        knob.layout.width = "min(640px, 96%)"
    return knob


def route(fn: Callable[..., Any], knobs: dict[str, Any], views: Sequence[type[Figure]]) -> Routes:
    """Say for each knob whether `fn` takes it or a view shows it; raise `ValueError` if neither does."""
    parameters = inspect.signature(fn).parameters
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    arguments, traits = [], []
    for name in knobs:
        shown = [view for view in views if name in view.public_traits()]
        if name in parameters or (any_name and not shown):
            arguments.append(name)
        elif shown:
            traits.append(name)
        else:
            known = sorted({trait for view in views for trait in view.public_traits()})
            raise ValueError(
                f"{name} is neither an argument of {getattr(fn, '__name__', 'the function')} "
                f"({', '.join(parameters) or 'none'}) nor a trait of the view ({', '.join(known) or 'none'})"
            )
    return Routes(tuple(arguments), tuple(traits))
