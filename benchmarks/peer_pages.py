"""Makes the attention page of one view; runs in the interpreter that has the library.

    python -m benchmarks.peer_pages VIEW WEIGHTS.npy TOKENS.json PAGE.html

Prints the fields of `Page` as one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Page:
    """What is known of a page that was made; None where it is not known."""

    num_bytes: int | None = None
    cpu_seconds: float | None = None
    """CPU time of the call that makes it, the median of three if they are quick; imports are left out."""
    heads: int | None = None
    """How many heads a reader can see large in it."""
    version: str = ""
    scripts: dict[str, str] = field(default_factory=dict)
    """Scripts that the library has on this disk: the address that the page loads, and the path."""
    missing: str = ""
    """The package that is not installed."""


@dataclass(frozen=True)
class Drawn:
    """A page's text, and what only its maker knows of it."""

    text: str
    heads: int
    scripts: dict[str, str] = field(default_factory=dict)


# Each takes weights of shape (layers, heads, T, T), the tokens and a folder for scripts. Imports and the
# library's own input type come first; the function that is returned is what the clock sees.
Maker = Callable[[Any, list[str], Path], Callable[[], Drawn]]


def heatmap(weights: Any, tokens: list[str], _folder: Path) -> Callable[[], Drawn]:
    from llmwidgets import AttentionHeatmap

    def make() -> Drawn:
        figure = AttentionHeatmap.from_arrays(weights, tokens)
        text = figure.to_html()
        return Drawn(text, max(1, len(figure._all_maps)))

    return make


def head_view(weights: Any, tokens: list[str], _folder: Path) -> Callable[[], Drawn]:
    from bertviz import head_view as draw

    return _bertviz(draw, weights, tokens)


def model_view(weights: Any, tokens: list[str], _folder: Path) -> Callable[[], Drawn]:
    from bertviz import model_view as draw

    return _bertviz(draw, weights, tokens)


def _bertviz(draw: Callable[..., Any], weights: Any, tokens: list[str]) -> Callable[[], Drawn]:
    import torch

    attention = [torch.from_numpy(layer)[None] for layer in weights]
    heads = weights.shape[0] * weights.shape[1]
    return lambda: Drawn(draw(attention, tokens, html_action="return").data, heads)


def attention_heads(weights: Any, tokens: list[str], folder: Path) -> Callable[[], Drawn]:
    from circuitsvis.attention import attention_heads as draw

    scripts = _circuitsvis_module(folder)
    return lambda: Drawn(str(draw(weights[0], tokens)), weights.shape[1], scripts)


def attention_pattern(weights: Any, tokens: list[str], folder: Path) -> Callable[[], Drawn]:
    from circuitsvis.attention import attention_pattern as draw

    scripts = _circuitsvis_module(folder)
    return lambda: Drawn(str(draw(tokens, weights[0, 0])), 1, scripts)


def _circuitsvis_module(folder: Path) -> dict[str, str]:
    """Write the bundle in its Python package as the module that its page imports."""
    import circuitsvis

    bundle = (Path(circuitsvis.__file__).parent / "dist/cdn/iife.js").read_text(encoding="utf-8")
    module = folder / "circuitsvis.mjs"
    module.write_text(
        f"{bundle}\nexport const {{ render, AttentionHeads, AttentionPattern }} = CircuitsVis;\n"
    )
    return {f"https://unpkg.com/circuitsvis@{circuitsvis.__version__}/dist/cdn/esm.js": str(module)}


@dataclass(frozen=True)
class View:
    """One way to draw attention: the package that brings it, and how its page is made."""

    package: str
    maker: Maker


VIEWS = {
    "AttentionHeatmap": View("llmwidgets", heatmap),
    "BertViz head_view": View("bertviz", head_view),
    "BertViz model_view": View("bertviz", model_view),
    "CircuitsVis attention_heads": View("circuitsvis", attention_heads),
    "CircuitsVis attention_pattern": View("circuitsvis", attention_pattern),
}


def make_page(name: str, weights: Any, tokens: list[str], path: Path) -> Page:
    """Write the page of the view `name` to `path` and return what is known of it."""
    view = VIEWS[name]
    try:
        make = view.maker(weights, tokens, path.parent)
    except ModuleNotFoundError as error:
        return Page(missing=(error.name or view.package).partition(".")[0])
    seconds = []
    while len(seconds) < 3 and sum(seconds) < 1:  # three times if it is quick
        begin = time.process_time()
        drawn = make()
        seconds.append(time.process_time() - begin)
    # A peer's HTML is the output of a cell; the notebook around it would say these two things.
    around = "" if view.package == "llmwidgets" else '<!doctype html><meta charset="utf-8">\n'
    path.write_text(around + drawn.text, encoding="utf-8")
    return Page(
        path.stat().st_size, statistics.median(seconds), drawn.heads, version(view.package), drawn.scripts
    )


if __name__ == "__main__":
    name, weights_path, tokens_path, page_path = sys.argv[1:]
    tokens = json.loads(Path(tokens_path).read_text(encoding="utf-8"))
    print(json.dumps(asdict(make_page(name, np.load(weights_path), tokens, Path(page_path)))))
