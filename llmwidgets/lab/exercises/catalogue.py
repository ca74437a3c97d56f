"""Which exercises there are. Each module is loaded when one of its exercises is asked for."""

from __future__ import annotations

from importlib import import_module

from llmwidgets.lab.exercises.exercise import Exercise

MODULES = {
    "02.e1": "masked_attention",
    "02.e2": "causal_mask",
    "02.e3": "online_softmax",
}


def find(id: str) -> Exercise:  # noqa: A002  # the same name as in the functions for learners
    """Return an exercise.

    Raises:
        ValueError: if there is none of that id.
    """
    if id not in MODULES:
        raise ValueError(f"there is no exercise {id!r}; there are {', '.join(MODULES)}")
    found = import_module(f"llmwidgets.lab.exercises.{MODULES[id]}").EXERCISE
    assert isinstance(found, Exercise)  # noqa: S101  # for the type checker; a test loads each one
    return found
