"""The command `llmwidgets`: copies the labs to a folder of yours and opens them in JupyterLab."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from llmwidgets.lab.notebooks import copy_labs, find_labs

FIRST = "00_start_here.ipynb"
NO_JUPYTERLAB = 'JupyterLab is not installed. Install it with: pip install "llmwidgets[labs]"'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 if it could not do what was asked."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    return list_labs() if options.list else open_labs(Path(options.folder), options.open)


def list_labs() -> int:
    """Print number, title and minutes of each lab."""
    for lab in find_labs():
        print(f"{lab.number}  {lab.title}  ({lab.minutes} min)")
    return 0


def open_labs(folder: Path, start: bool) -> int:
    """Copy the labs that `folder` lacks, say what was done, and start JupyterLab on the first one."""
    print(f"Labs in {folder}", flush=True)
    try:
        copies = copy_labs(folder)
    except OSError as error:
        print(f"The labs cannot be copied to {folder}: {error}", file=sys.stderr)
        return 2
    for name in copies.copied:
        print(f"  copied {name}")
    for name in copies.outdated:
        print(f"  kept your {name}: it is of another version than the installed one; rename it to get that")
    if not start:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        print(NO_JUPYTERLAB, file=sys.stderr)
        return 2
    print("Starting JupyterLab; stop it with Ctrl+C", flush=True)
    try:
        return subprocess.call(_jupyterlab(folder / FIRST))  # noqa: S603  # no shell
    except KeyboardInterrupt:  # JupyterLab got it too and has asked already
        return 0


def _jupyterlab(notebook: Path) -> list[str]:
    command = [sys.executable, "-m", "jupyterlab", str(notebook)]
    # JupyterLab refuses root, who is the usual user of a container. It listens on loopback only.
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*command, "--allow-root"] if as_root else command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmwidgets", description="See what an LLM inference engine did.")
    commands = parser.add_subparsers(dest="command")
    labs = commands.add_parser("labs", help="copy the labs to a folder and open them in JupyterLab")
    labs.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        default="llmwidgets-labs",
        help="where your copies live (default: ./llmwidgets-labs); what is there is never overwritten",
    )
    labs.add_argument("--no-open", dest="open", action="store_false", help="only copy")
    labs.add_argument("--list", action="store_true", help="print number, title and minutes of each lab")
    return parser


if __name__ == "__main__":
    sys.exit(main())
