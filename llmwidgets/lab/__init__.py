"""Knobs, predictions and exercises: the only place that knows both engines and widgets.

Names are imported when first used, so the command `llmwidgets` starts without Jupyter.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmwidgets.lab.exercises import check, exercise, hint, solution
    from llmwidgets.lab.predictions import predict
    from llmwidgets.lab.progress import reset_progress
    from llmwidgets.lab.serve_script import serve_flag

__all__ = ["check", "exercise", "hint", "predict", "reset_progress", "serve_flag", "solution"]

_HOMES = {
    "check": "exercises",
    "exercise": "exercises",
    "hint": "exercises",
    "predict": "predictions",
    "reset_progress": "progress",
    "serve_flag": "serve_script",
    "solution": "exercises",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
