"""A real JupyterLab server of its own settings, and a notebook opened in it by a real browser."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Page

from tests.browser.chromium import collect_errors, only_local

STATUS = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"
ERRORS = """() => jupyterapp.shell.currentWidget.content.widgets
  .filter(cell => cell.model.type === 'code')
  .flatMap(cell => cell.model.outputs.toJSON())
  .filter(output => output.output_type === 'error')
  .map(output => output.ename + ': ' + output.evalue)"""
NOT_RUN = """() => jupyterapp.shell.currentWidget.content.widgets
  .filter(cell => cell.model.type === 'code' && cell.model.executionCount === null).length"""
ASK = """async code => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, store_history: false});
  let text = '';
  future.onIOPub = message => {
    if (message.header.msg_type === 'stream') text += message.content.text;
    if (message.header.msg_type === 'error') text += message.content.ename + ': ' + message.content.evalue;
  };
  await future.done;
  return text;
}"""


class Server:
    """JupyterLab on a port of its own; settings, runtime files and progress stay in `home`."""

    def __init__(self, folder: Path, home: Path) -> None:
        """Start the server; it may not answer yet."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.token = secrets.token_hex(8)
        places = ("CONFIG", "DATA", "RUNTIME")
        own = {f"JUPYTER_{place}_DIR": str(home / place.lower()) for place in places}
        own |= {f"JUPYTERLAB_{place}_DIR": str(home / place.lower()) for place in ("SETTINGS", "WORKSPACES")}
        # Every cell stays in the page, also those that are scrolled out of sight.
        tracker = home / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
        tracker.parent.mkdir(parents=True, exist_ok=True)
        tracker.write_text('{"windowingMode": "none"}')
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": folder,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.news_url": None,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        self.log = home / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in options.items())],
                env=os.environ | own,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, seconds: float = 90) -> None:
        """Wait until the server answers."""
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/api/status?token={self.token}", timeout=5
                )
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}")

    def address(self, notebook: str) -> str:
        """Return where a notebook of the folder opens, in a workspace of its own."""
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}&reset"

    def stop(self) -> None:
        """End this server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Notebook:
    """One notebook open in one page, cut off from every host but the server's."""

    def __init__(self, browser: Browser, address: str, *, width: int = 1280) -> None:
        """Open the notebook and wait until its kernel is idle."""
        self.context = browser.new_context(viewport={"width": width, "height": 1000})
        self.refused = only_local(self.context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(90_000)
        # What the lab's own server does not have (a missing user setting, say) is no fault of the widget.
        self.errors = collect_errors(self.page, ignore=lambda text: "Failed to load resource" in text)
        self.page.goto(address)
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        self.page.evaluate("async () => { await window.jupyterapp.restored }")
        self.page.wait_for_function(f"({STATUS})() === 'idle'")

    def run_all(self) -> None:
        """Run every cell and wait for the end."""
        self.command("notebook:run-all-cells")

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Run one of JupyterLab's commands and wait for it."""
        self.page.evaluate(
            "async ([name, args]) => { await jupyterapp.commands.execute(name, args) }",
            [name, arguments or {}],
        )

    def cell_errors(self) -> list[str]:
        """Return every error among the outputs, and whether a cell was left out."""
        left = self.page.evaluate(NOT_RUN)
        return self.page.evaluate(ERRORS) + ([f"{left} cells did not run"] if left else [])

    def ask(self, code: str) -> str:
        """Run code in the kernel and return what it printed."""
        return self.page.evaluate(ASK, code).strip()

    def close(self) -> None:
        """Close the page; a changed notebook is not saved."""
        self.context.close()


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[Server]:
    """Run a server over `folder` until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    server = Server(folder, home)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
