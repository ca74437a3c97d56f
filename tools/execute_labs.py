"""Run the labs and store what they show: text and a picture of each widget.

    python tools/execute_labs.py [labs/02_causal_attention.ipynb ...]

A notebook that is opened but not run has no kernel, so its widgets cannot be drawn. Stored outputs are
therefore `text/plain` and a PNG, taken in Chromium from the page that `to_html` writes; nothing of the
widgets' own wire stays. Needs playwright, and Chromium at /usr/bin/chromium or in $CHROMIUM.
"""

from __future__ import annotations

import argparse
import base64
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from playwright.sync_api import Browser, sync_playwright

from llmwidgets.lab.notebooks import revision

LABS = Path(__file__).parent.parent / "labs"
WIDGET = "application/vnd.jupyter.widget-view+json"
PAGE = "application/x-llmwidgets-page"  # between kernel and this tool only: the file name of an exported page
WIDTH = 960

# Runs in the kernel before the first cell: whatever is displayed as a widget is also written as a page.
HOOK = f"""
def _export_widgets():
    import itertools, os, pathlib
    from llmwidgets.widgets.linked import figure_of
    folder = pathlib.Path(os.environ["LLMWIDGETS_EXPORT_DIR"])
    formatter = get_ipython().display_formatter
    as_it_is, numbers = formatter.format, itertools.count()

    def drawn(shown):
        return shown if hasattr(shown, "to_html") else figure_of(shown)

    def format(shown, include=None, exclude=None):
        if hasattr(shown, "wait"):
            shown.wait()
        data, metadata = as_it_is(shown, include, exclude)
        if {WIDGET!r} in data:
            name = f"{{next(numbers)}}.html"
            drawn(shown).to_html(folder / name)
            data = {{**data, {PAGE!r}: name}}
        return data, metadata

    formatter.format = format

_export_widgets()
del _export_widgets
"""


def main() -> None:
    """Execute the labs named on the command line, by default all, and write them back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("labs", nargs="*", type=Path, help="notebooks (default: all of labs/)")
    chosen = parser.parse_args().labs or sorted(LABS.glob("*.ipynb"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        for path in chosen:
            notebook = execute(path, browser)
            nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # nbformat has no types
            print(f"{path}: {len(notebook.cells)} cells, {path.stat().st_size / 1024:.0f} KiB")
        browser.close()


def execute(path: Path, browser: Browser) -> Any:
    """Run one lab in a fresh kernel, in a folder of its own, and return it with outputs to store."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types
    with tempfile.TemporaryDirectory() as folder:
        work, pages, hook = Path(folder) / "work", Path(folder) / "pages", Path(folder) / "hook.py"
        work.mkdir()
        pages.mkdir()
        hook.write_text(HOOK, encoding="utf-8")
        client = NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            extra_arguments=[f"--InteractiveShellApp.exec_files={hook}"],
            resources={"metadata": {"path": str(work)}},
        )
        client.execute(env=os.environ | {"LLMWIDGETS_EXPORT_DIR": str(pages), "LLMWIDGETS_NO_PROGRESS": "1"})
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            if "data" in output:
                settle(output, pages, browser)
    tidy(notebook)
    return notebook


def settle(output: Any, pages: Path, browser: Browser) -> None:
    """Replace the widget in one output by a picture of it."""
    output.data.pop(WIDGET, None)
    page = output.data.pop(PAGE, None)
    if page is not None:
        output.data["image/png"] = base64.b64encode(picture(pages / page, browser)).decode("ascii")
    output.metadata = {}


def picture(page: Path, browser: Browser) -> bytes:
    """Return a PNG of an exported page, light."""
    tab = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light")
    try:
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-painted=true]", state="attached")
        tab.wait_for_timeout(400)  # widgets paint in the frames after they are mounted
        return tab.locator("#llmwidgets-widgets").screenshot()
    finally:
        tab.close()


def tidy(notebook: Any) -> None:
    """Keep only metadata that is the same on every machine, and say of which text the outputs are."""
    facts = dict(notebook.metadata.get("llmwidgets", {}))
    facts["revision"] = revision(notebook)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": kernel, "language_info": {"name": "python"}, "llmwidgets": facts}
    )


if __name__ == "__main__":
    main()
