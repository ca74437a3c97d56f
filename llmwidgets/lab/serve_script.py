"""`serve_flag`: a `vllm serve` command that grows by one commented line with each lab."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

SCRIPT = "serve.sh"
_FLAG = re.compile(r"--[a-z0-9]+(-[a-z0-9]+)*")
_LINE = re.compile(r"  (--[a-z0-9-]+)[ \n]")  # how each line that `serve_flag` wrote begins

# The flags stand in an array, for there each line may end in a comment; after a backslash none may.
_HEAD = """#!/usr/bin/env bash
# Each flag was justified in a lab, by the figure behind it. Run: MODEL=Qwen/Qwen3-0.6B bash serve.sh
set -euo pipefail
flags=(
"""
_TAIL = """)
exec vllm serve "${MODEL:?say which model: MODEL=... bash serve.sh}" "${flags[@]}" "$@"
"""


def serve_flag(
    flag: str, value: str | float | None, reason: str, *, folder: str | Path = "artifacts"
) -> Path:
    """Put a flag with its reason into `serve.sh`; a flag that is there gets the new value and reason.

    Args:
        flag: a flag of `vllm serve`, such as `"--max-num-seqs"`.
        value: its value; None for a flag that takes none.
        reason: why, with the measured figure, in one line.
        folder: where the script lies; it is made if it is not there.

    Returns:
        The script.

    Raises:
        ValueError: for what is no flag, an empty reason, or a script that has lost its list of flags.
    """
    if not _FLAG.fullmatch(flag):
        raise ValueError(f"flag={flag!r} is not allowed; allowed are names such as '--max-num-seqs'")
    why = " ".join(str(reason).split())
    if not why:
        raise ValueError(f"reason={reason!r} is empty; say in one line why {flag} has this value")
    words = [flag] if value is None else [flag, shlex.quote(_one_line(value))]
    path = Path(folder) / SCRIPT
    lines = _lines(path)
    lines[flag] = f"  {' '.join(words):<36} # {why}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(_HEAD + "".join(lines.values()) + _TAIL, encoding="utf-8")
    partial.replace(path)
    return path


def _one_line(value: str | float) -> str:
    text = str(value)
    if not text.isprintable():
        raise ValueError(f"value={text!r} is not allowed; allowed is one line of text")
    return text


def _lines(path: Path) -> dict[str, str]:
    """Return the lines of an earlier script by flag, in their order."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    _, _, after = text.partition("\nflags=(")
    body, closing, _ = after.partition("\n)\n")
    if not closing:
        raise ValueError(f"{path} has no list of flags any more; move it away, and it is made anew")
    lines: dict[str, str] = {}
    for line in (f"{line}\n" for line in body.splitlines() if line):
        found = _LINE.match(line)
        lines[found.group(1) if found else line] = line  # a line of the reader's own stays as it is
    return lines
