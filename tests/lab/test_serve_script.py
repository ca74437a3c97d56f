"""`serve.sh`: valid for a shell at each stage, one line a flag, however often a cell runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from llmwidgets.lab import serve_flag


def valid(path: Path) -> bool:
    return subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0


def arguments(path: Path, folder: Path) -> list[str]:
    """Return what a `vllm` gets that the script calls: one that prints its arguments."""
    vllm = folder / "vllm"
    vllm.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    vllm.chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "MODEL": "a/model"}
    done = subprocess.run(
        ["bash", str(path)], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.splitlines()


def test_the_script_grows_by_a_line_a_flag_and_runs(tmp_path):
    path = serve_flag("--max-num-seqs", 9, "lab 05: t(B) = 13.8 ms + 1.4 ms · B", folder=tmp_path)
    assert valid(path)
    assert serve_flag("--max-num-batched-tokens", 256, "lab 05: 90%", folder=tmp_path) == path
    serve_flag("--enable-prefix-caching", None, "lab 06: 31 of 40 blocks hit", folder=tmp_path)
    assert valid(path)
    words = "serve a/model --max-num-seqs 9 --max-num-batched-tokens 256 --enable-prefix-caching"
    assert arguments(path, tmp_path) == words.split()
    lines = [line for line in path.read_text().splitlines() if line.startswith("  --")]
    assert len(lines) == 3
    assert lines[0].endswith("# lab 05: t(B) = 13.8 ms + 1.4 ms · B")


def test_running_a_cell_again_replaces_its_own_line_in_place(tmp_path):
    for value in (9, 12):
        serve_flag("--max-num-seqs", value, f"lab 05: {value}", folder=tmp_path)
        path = serve_flag("--block-size", 16, "lab 06: least waste", folder=tmp_path)
    text = path.read_text()
    assert text.count("--max-num-seqs") == 1
    assert text.index("--max-num-seqs 12") < text.index("--block-size 16")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "value", ['{"method": "ngram"}', "$(touch struck)", "`touch struck`", "it's", "", "a b"]
)
def test_a_value_reaches_vllm_as_it_is_whatever_it_holds(tmp_path, value):
    path = serve_flag("--speculative-config", value, "lab 09", folder=tmp_path)
    assert valid(path)
    assert arguments(path, tmp_path)[2:] == ["--speculative-config", value]
    assert not (tmp_path / "struck").exists()
    serve_flag("--max-num-seqs", 1, "lab 05", folder=tmp_path)
    assert arguments(path, tmp_path)[2:] == ["--speculative-config", value, "--max-num-seqs", "1"]


def test_a_reason_stays_a_comment(tmp_path):
    path = serve_flag("--seed", 0, "two\nlines ) $(touch struck)\n)\nexec rm", folder=tmp_path)
    assert arguments(path, tmp_path) == ["serve", "a/model", "--seed", "0"]
    assert not (tmp_path / "struck").exists()


def test_lines_of_the_reader_stay(tmp_path):
    path = serve_flag("--seed", 0, "lab 01", folder=tmp_path)
    path.write_text(path.read_text().replace("flags=(\n", "flags=(\n  # my own\n  --port 8001\n"))
    serve_flag("--seed", 1, "lab 01", folder=tmp_path)
    assert "  # my own\n  --port 8001\n" in path.read_text()
    assert arguments(path, tmp_path)[2:] == ["--port", "8001", "--seed", "1"]


def test_an_emptied_list_grows_again(tmp_path):
    path = serve_flag("--seed", 0, "lab 01", folder=tmp_path)
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "--seed" not in line))
    serve_flag("--seed", 1, "lab 01", folder=tmp_path)
    assert arguments(path, tmp_path)[2:] == ["--seed", "1"]


@pytest.mark.parametrize(
    ("flag", "value", "reason", "message"),
    [
        ("max-num-seqs", 1, "why", "flag='max-num-seqs' is not allowed"),
        ("--a; rm", 1, "why", "is not allowed; allowed are names"),
        ("--seed", 1, " \n", "is empty; say in one line why --seed"),
        ("--seed", "1\n2", "why", "allowed is one line of text"),
    ],
)
def test_what_would_break_the_script_is_refused(tmp_path, flag, value, reason, message):
    with pytest.raises(ValueError, match=message):
        serve_flag(flag, value, reason, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_script_without_its_list_is_left_alone(tmp_path):
    path = tmp_path / "serve.sh"
    path.write_text("vllm serve mine\n")
    with pytest.raises(ValueError, match="has no list of flags any more; move it away"):
        serve_flag("--seed", 0, "lab 01", folder=tmp_path)
    assert path.read_text() == "vllm serve mine\n"
