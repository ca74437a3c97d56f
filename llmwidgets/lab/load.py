"""`load` for people: says what goes on while PyTorch is imported, then hands over to the engine's loader."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def load(
    name_or_path: str | Path = "classics",
    *,
    device: str | None = None,
    dtype: str | None = None,
    max_model_len: int | None = None,
) -> Any:
    """Load a model and return its `Engine`; see `llmwidgets.engine.load`, which does the work.

    Args:
        name_or_path: a bundled model (`llmwidgets.models()`), a local folder, or a name on the Hub.
        device: such as "cpu" or "cuda"; by default the CPU.
        dtype: such as "float32" or "bfloat16"; by default float32 on the CPU.
        max_model_len: the most tokens of prompt and output together; by default the trained length.

    Raises:
        ValueError: for a model that is not there or cannot run here.
    """
    with progress_text(f"Loading PyTorch and {str(name_or_path)!r} …"):
        from llmwidgets.engine import load as load_engine

        return load_engine(name_or_path, device=device, dtype=dtype, max_model_len=max_model_len)


@contextmanager
def progress_text(text: str) -> Iterator[None]:
    """Show a line in the running cell until the work is done; elsewhere than in a notebook do nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        yield
        return
    from IPython.display import clear_output, display

    display({"text/plain": text}, raw=True)
    try:
        yield
    finally:
        clear_output(wait=True)
