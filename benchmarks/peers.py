"""Measures the heatmap beside BertViz and CircuitsVis: the same weights in one Chromium, page after page.

    python -m benchmarks.peers --peers-python /tmp/bench-venv/bin/python --write peers.md

Prints a Markdown table with a row for each view and length; README.md says what the columns mean. Needs the
`test` extra and Chromium, npm for the scripts that BertViz loads from another host, and an interpreter with
the packages of the `bench` extra; a peer that is not installed there is said to be so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Playwright, sync_playwright

from benchmarks.peer_browser import open_and_measure
from benchmarks.peer_live import LIVE, run_and_measure
from benchmarks.peer_pages import VIEWS, Page
from benchmarks.peer_scripts import fetch_scripts
from benchmarks.peer_table import HEAD, Row, line
from tests.browser.chromium import launch
from tests.browser.jupyterlab import Server, serving

ROOT = Path(__file__).parent.parent
TEXT = ROOT / "llmwidgets/models/text/evaluation_books.txt"  # old books that the bundled model never read
OURS = "AttentionHeatmap"
MAKING = 180  # seconds that a page may take to be made


def write_weights(folder: Path, length: int) -> None:
    """Write what the bundled model attends to in `length` tokens: the record, all weights, the tokens."""
    import llmwidgets as lw

    engine = lw.load()
    text = TEXT.read_text(encoding="utf-8")[: 12 * length]
    record = engine.attend(engine.tokenizer(text, truncation=True, max_length=length)["input_ids"])
    record.save(folder / f"record{length}")
    weights = [[record.weights(layer, head) for head in record.heads] for layer in record.layers]
    np.save(folder / f"weights{length}.npy", np.array(weights))
    (folder / f"tokens{length}.json").write_text(json.dumps(record.tokens), encoding="utf-8")


class Benchmark:
    """One run: its options, its browser and JupyterLab, and what is already known of each view."""

    def __init__(
        self, options: argparse.Namespace, playwright: Playwright, server: Server, folder: Path
    ) -> None:
        self.options = options
        self.playwright = playwright
        self.server = server
        self.folder = folder  # the server's
        self.browser = launch(playwright)
        self.scripts = fetch_scripts(options.scripts)
        self.stopped: dict[str, int] = {}  # view -> length at which its page did not paint before the cap
        self.last: dict[str, tuple[int, int]] = {}  # view -> length and bytes of its last page
        self.versions: dict[str, str] = {}

    def row(self, view: str, length: int) -> Row:
        """Measure one view, whatever goes wrong, and note the load average around it."""
        before = os.getloadavg()[0]
        if not self.browser.is_connected():
            self.browser = launch(self.playwright)
        try:
            row = self.live(length) if view == LIVE else self.measure(view, length)
        except (PlaywrightError, subprocess.SubprocessError, OSError, ValueError, RuntimeError) as error:
            row = Row(length, view, self.options.cap, note=f"failed: {reason(error)}")
        return replace(row, load=(before, os.getloadavg()[0]))

    def live(self, length: int) -> Row:
        """Measure the heatmap in JupyterLab."""
        record = self.folder / f"record{length}"
        return run_and_measure(self.browser, self.server, self.folder, record, length, self.options.cap)

    def measure(self, view: str, length: int) -> Row:
        """Make and open the page of a view, unless it is known to be too large or too slow."""
        empty = Row(length, view, self.options.cap)
        if note := self.too_large(view, length):
            return replace(empty, note=note)
        page = self.make(view, length)
        if page.missing:
            return replace(empty, note=f"not installed: {page.missing}")
        self.last[view] = length, page.num_bytes or 0
        self.versions[VIEWS[view].package] = page.version
        made = replace(empty, page=page)
        if view in self.stopped:
            return replace(made, note=f"not opened: stopped at T = {self.stopped[view]}")
        if VIEWS[view].package == "bertviz" and not self.scripts:
            return replace(made, note="not opened: npm did not bring its scripts")
        scripts = self.scripts | page.scripts
        seen = open_and_measure(self.browser, view, self.path, page.heads or 1, scripts, self.options.cap)
        if seen.stopped == "paint":
            self.stopped[view] = length
        return replace(made, seen=seen, note=seen.error)

    @property
    def path(self) -> Path:
        """Where the page of the row is written; the next row writes over it."""
        return self.folder / "page.html"

    def too_large(self, view: str, length: int) -> str:
        """Return why the page of a view is not made, judged by its last one; empty if it is."""
        known_length, known_bytes = self.last.get(view, (length, 0))
        estimate = known_bytes * (length / known_length) ** 2
        if estimate <= self.options.largest_page * 1e6:
            return ""
        return f"not made: about {estimate / 1e9:.1f} GB of HTML (an estimate: bytes grow as T²)"

    def make(self, view: str, length: int) -> Page:
        """Make the page of a view in a process of its own, under the interpreter that has the library."""
        python = sys.executable if view == OURS else self.options.peers_python
        inputs = (self.folder / f"weights{length}.npy", self.folder / f"tokens{length}.json", self.path)
        command = [python, "-m", "benchmarks.peer_pages", view, *map(str, inputs)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MAKING, check=True)
        return Page(**json.loads(done.stdout.splitlines()[-1]))


def reason(error: Exception) -> str:
    """Return in one line what went wrong; of a process, the last line that it wrote."""
    written = getattr(error, "stderr", None)
    lines = (written if isinstance(written, str) else "").strip().splitlines()
    return lines[-1] if lines else str(error).partition("\n")[0]


def table(benchmark: Benchmark) -> Iterator[str]:
    """Yield the table line by line: for each length ours, ours in JupyterLab, then the peers."""
    yield HEAD
    for length in benchmark.options.lengths:
        write_weights(benchmark.folder, length)
        ours = [benchmark.row(view, length) for view in (OURS, LIVE)]
        yield from (line(row, []) for row in ours)
        yield from (line(benchmark.row(view, length), ours) for view in VIEWS if view != OURS)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of a run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256, 512, 1024], metavar="T")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter that has the peers")
    scripts = Path(tempfile.gettempdir()) / "llmwidgets-peer-scripts"
    parser.add_argument("--scripts", type=Path, default=scripts, help="where npm puts the peers' scripts")
    parser.add_argument("--cap", type=float, default=30, help="seconds a step of a page may take")
    parser.add_argument(
        "--largest-page", type=float, default=1000, help="MB of HTML above which none is made"
    )
    parser.add_argument("--write", type=Path, help="write the table there too")
    return parser.parse_args(arguments)


def main() -> None:
    """Run all views at all lengths."""
    options = parse()
    begin = time.monotonic()
    said: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        said.append(text + "\n")

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        with serving(folder, folder / "home") as server:
            benchmark = Benchmark(options, playwright, server, folder)
            machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
            say(f"Python {platform.python_version()}, Chromium {benchmark.browser.version}, {machine}.\n")
            for text in table(benchmark):
                say(text)
            versions = ", ".join(f"{name} {version}" for name, version in benchmark.versions.items())
            say(f"\n{versions}. The run took {time.monotonic() - begin:.0f} s.")
            benchmark.browser.close()
    if options.write:
        options.write.write_text("".join(said), encoding="utf-8")


if __name__ == "__main__":
    main()
