"""Real inference over torch and Transformers; makes records and knows nothing of notebooks.

Names are imported when first used: `models` needs neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmwidgets.engine.bundled import models
    from llmwidgets.engine.engine import Engine
    from llmwidgets.engine.loading import load

__all__ = ["Engine", "load", "models"]

_HOMES = {"Engine": "engine", "load": "loading", "models": "bundled"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
