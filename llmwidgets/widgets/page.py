"""Writes widgets into one HTML page that needs no kernel and no network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmwidgets.widgets.figure import Figure

STATIC = Path(__file__).parent.parent / "static"

# Nothing outside the page may load or be told anything; scripts are the page's own.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data: blob:"
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; background: light-dark(#ffffff, #111418); }}
body {{ margin: 16px auto; padding: 0 12px; max-width: 1600px; }}
#llmwidgets-widgets > div + div {{ margin-top: 12px; }}
</style>
<body>
<main id="llmwidgets-widgets"></main>
<noscript><pre>{text}</pre></noscript>
<script type="application/json" id="llmwidgets-page">{page}</script>
<script type="module">{host}</script>
</body>
</html>
"""


def write_page(
    figures: Sequence[Figure], path: str | Path | None = None, *, title: str = "llmwidgets"
) -> str:
    """Return a page with `figures` below each other; write it to `path` if given."""
    widgets = [{"module": figure.stem, "state": _plain(figure.wire_state())} for figure in figures]
    modules = {name: _bundle_text(name) for name in {figure.stem for figure in figures}}
    text = "\n\n".join(figure.to_text() for figure in figures)
    page = PAGE.format(
        policy=POLICY,
        title=html.escape(title),
        text=html.escape(text),
        page=_json_inside_script({"modules": modules, "widgets": widgets}),
        host=_bundle_text("host"),
    )
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page


def _plain(value: Any) -> Any:
    if isinstance(value, (memoryview, bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _json_inside_script(value: Any) -> str:
    """Return JSON in which no text can end the script element around it."""
    return json.dumps(value).replace("<", "\\u003c")


def _bundle_text(stem: str) -> str:
    return (STATIC / f"{stem}.js").read_text(encoding="utf-8")
