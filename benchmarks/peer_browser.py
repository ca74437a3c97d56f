"""Opens one attention page and measures it: first paint, head switch, hover, nodes and heap."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # comes with ipykernel, which JupyterLab needs
from playwright.sync_api import Browser, BrowserContext, Page
from playwright.sync_api import Error as PlaywrightError

from benchmarks.peer_scripts import answer_from_disk

IN_PAGE = (Path(__file__).parent / "peers.js").read_text(encoding="utf-8")
VIEWPORT = {"width": 1280, "height": 900}
MOVES = 20  # inputs of each kind, fewer if they do not fit in a third of the cap


class StoppedError(RuntimeError):
    """The page did not answer before the cap, and its process was ended."""


@dataclass
class Seen:
    """What a page did; None or empty where it was not measured. Times in milliseconds."""

    paint: float | None = None
    switch: list[float] = field(default_factory=list)
    hover: list[float] = field(default_factory=list)
    num_nodes: int | None = None
    heap_bytes: int | None = None
    num_outside: int = 0
    """Requests to another host."""
    stopped: str = ""
    """The step that was stopped: paint, count, switch or hover."""
    error: str = ""


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End the page's process if the block takes longer: a blocked page answers no call, not even to close."""
    fired = threading.Event()

    def end() -> None:
        fired.set()
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if "--type=renderer" in process.cmdline():
                    process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    except PlaywrightError as error:
        if fired.is_set():
            raise StoppedError(f"no answer in {seconds:.0f} s") from error
        raise
    finally:
        timer.cancel()


def take_steps(seen: Seen, steps: Mapping[str, Callable[[], None]], cap: float) -> None:
    """Take each step in at most `cap` seconds; the first that stops or fails is noted and ends them."""
    for doing, step in steps.items():
        try:
            with ended_after(cap):
                step()
        except StoppedError:
            seen.stopped = doing
            return
        except PlaywrightError as error:
            seen.error = f"{doing}: {str(error).partition(chr(10))[0]}"
            return


def inputs(page: Page, view: str, seen: Seen, switches: bool, cap: float) -> dict[str, Callable[[], None]]:
    """Return the steps that switch heads, if there is another to switch to, and hover."""

    def answers(kind: str) -> list[float]:
        return page.evaluate("given => bench.answers(...given)", [view, kind, MOVES, cap * 1000 / 3])

    steps = {"switch": lambda: seen.switch.extend(answers("switch"))} if switches else {}
    return steps | {"hover": lambda: seen.hover.extend(answers("hover"))}


def open_and_measure(
    browser: Browser, view: str, page_path: Path, heads: int, scripts: Mapping[str, str], cap: float
) -> Seen:
    """Open the page of `view` and measure it; a page that is slower than `cap` seconds is stopped.

    Args:
        browser: where a context of its own is opened, cut off from the network.
        view: its name in peers.js.
        page_path: the page.
        heads: how many heads it holds; with one there is nothing to switch to.
        scripts: addresses that are answered from disk.
        cap: seconds that the first paint, the switches and the hovers may each take.
    """
    context = browser.new_context(viewport=VIEWPORT)
    asked = answer_from_disk(context, scripts)
    context.add_init_script(f"{IN_PAGE}\nbench.started = bench.painted({json.dumps(view)});")
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error).partition("\n")[0]))
    seen = Seen()

    def paint() -> None:
        page.goto(page_path.as_uri(), wait_until="commit", timeout=0)
        seen.paint = page.evaluate("bench.started")

    def count() -> None:
        seen.num_nodes = page.evaluate("document.getElementsByTagName('*').length")
        session = context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")
        seen.heap_bytes = int(heap["usedSize"] + heap.get("backingStorageSize", 0))  # with array buffers

    take_steps(seen, {"paint": paint, "count": count} | inputs(page, view, seen, heads > 1, cap), cap)
    seen.num_outside = len(asked)
    seen.error = seen.error or next(iter(failures), "")
    close(context)
    return seen


def close(context: BrowserContext) -> None:
    """Close a context, also one whose page was ended or is blocked."""
    with suppress(PlaywrightError, StoppedError), ended_after(10):
        context.close()
