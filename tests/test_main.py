"""The command `llmwidgets`, on labs of this test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmwidgets import __main__ as command
from llmwidgets.lab import notebooks


def write_lab(folder: Path, name: str, title: str, minutes: int, source: str = "1 + 1") -> None:
    notebook: dict[str, Any] = {"cells": [{"cell_type": "code", "source": source}], "metadata": {}}
    facts = {"title": title, "minutes": minutes, "revision": notebooks.revision(notebook)}
    notebook["metadata"] = {"llmwidgets": facts}
    (folder / name).write_text(json.dumps(notebook))


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    labs = tmp_path / "package" / "labs"
    labs.mkdir(parents=True)
    write_lab(labs, "00_start_here.ipynb", "Start here", 15)
    write_lab(labs, "02_causal_attention.ipynb", "Who can look at whom", 45)
    monkeypatch.setattr(notebooks, "PACKAGE", labs.parent)
    monkeypatch.chdir(tmp_path)
    return labs


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(command.subprocess, "call", lambda arguments: calls.append(arguments) or 0)
    return calls


def test_labs_are_copied_and_opened(tmp_path: Path, started: list[list[str]], capsys: Any) -> None:
    assert command.main(["labs"]) == 0
    first = Path("llmwidgets-labs/00_start_here.ipynb")
    assert [command[:4] for command in started] == [[sys.executable, "-m", "jupyterlab", str(first)]]
    assert first.exists()
    assert "copied 02_causal_attention.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize(("user", "extra"), [(0, ["--allow-root"]), (1000, [])])
def test_root_of_a_container_may_open_the_labs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: int, extra: list[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(subprocess, "call", lambda arguments: started.append(arguments) or 0)
    assert command.main(["labs", str(tmp_path / "mine")]) == 0
    assert started[0][4:] == extra


def test_no_open_only_copies(started: list[list[str]]) -> None:
    assert command.main(["labs", "mine", "--no-open"]) == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == [
        "00_start_here.ipynb",
        "02_causal_attention.ipynb",
    ]
    assert started == []


def test_a_copy_is_never_overwritten_and_outdated_ones_are_named(package: Path, capsys: Any) -> None:
    command.main(["labs", "mine", "--no-open"])
    worked_in = json.loads(Path("mine/00_start_here.ipynb").read_text())
    worked_in["cells"][0]["source"] = "my own answer"
    Path("mine/00_start_here.ipynb").write_text(json.dumps(worked_in))
    write_lab(package, "02_causal_attention.ipynb", "Who can look at whom", 45, "a newer task")
    capsys.readouterr()
    assert command.main(["labs", "mine", "--no-open"]) == 0
    out = capsys.readouterr().out
    assert "02_causal_attention.ipynb" in out
    assert "00_start_here.ipynb" not in out, "a copy in which somebody works is not outdated by that"
    assert "my own answer" in Path("mine/00_start_here.ipynb").read_text()
    assert "a newer task" not in Path("mine/02_causal_attention.ipynb").read_text()


@pytest.mark.parametrize("text", ["", "no notebook", "[]", '{"metadata": {}}'])
def test_an_unreadable_copy_is_kept_and_named(text: str, capsys: Any) -> None:
    Path("mine").mkdir()
    Path("mine/00_start_here.ipynb").write_text(text)
    assert command.main(["labs", "mine", "--no-open"]) == 0
    assert "kept your 00_start_here.ipynb" in capsys.readouterr().out
    assert Path("mine/00_start_here.ipynb").read_text() == text


def test_list_prints_number_title_minutes(capsys: Any) -> None:
    assert command.main(["labs", "--list"]) == 0
    assert capsys.readouterr().out == "00  Start here  (15 min)\n02  Who can look at whom  (45 min)\n"


def test_missing_jupyterlab_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert command.main(["labs"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "llmwidgets[labs]"' in error


def test_a_folder_that_cannot_be_made_is_said(capsys: Any) -> None:
    Path("file").write_text("")
    assert command.main(["labs", "file/inside", "--no-open"]) == 2
    assert "file/inside" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys: Any) -> None:
    assert command.main([]) == 0
    assert "labs" in capsys.readouterr().out


def test_the_command_loads_neither_jupyter_nor_torch() -> None:
    heavy = "{'torch', 'transformers', 'anywidget', 'IPython'}"
    code = f"import sys, llmwidgets.__main__; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
