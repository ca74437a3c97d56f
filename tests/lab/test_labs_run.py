"""Runs the labs: untouched, with the solutions in, and with a wrong count in a stored output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from llmwidgets.lab.exercises.catalogue import find
from llmwidgets.lab.notebooks import find_labs

pytestmark = pytest.mark.browser  # as slow as the tests in a browser, and run with them
LABS = [lab.path for lab in find_labs()]


def nbval(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def run(notebook: Any, folder: Path) -> Any:
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ | {"LLMWIDGETS_NO_PROGRESS": "1"})
    return notebook


def verdicts(notebook: Any) -> list[str]:
    checks = [cell for cell in notebook.cells if "check" in cell.metadata.get("tags", [])]
    return [cell.outputs[0].data["text/plain"] for cell in checks]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_run_all_on_an_untouched_lab_raises_nothing(path: Path, tmp_path: Path) -> None:
    notebook = run(nbformat.read(path, as_version=4), tmp_path)
    assert set(verdicts(notebook)) <= {"○ not attempted yet"}
    assert not (tmp_path / ".llmwidgets").exists()


@pytest.mark.parametrize("path", LABS[1:], ids=lambda path: path.stem)
def test_with_the_solutions_in_every_check_passes(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("answer-"):
                cell.source = find(tag.removeprefix("answer-")).solution
    passed = verdicts(run(notebook, tmp_path))
    assert len(passed) >= 3
    assert all(verdict.startswith("✓") for verdict in passed), passed


def test_nbval_passes_with_no_other_option_and_leaves_no_progress(tmp_path: Path) -> None:
    for path in LABS:
        shutil.copy(path, tmp_path)
    result = nbval(tmp_path)
    assert result.returncode == 0, result.stdout
    assert not (tmp_path / ".llmwidgets").exists()


def test_nbval_fails_for_a_changed_count(tmp_path: Path) -> None:
    copy = tmp_path / LABS[0].name
    text = LABS[0].read_text(encoding="utf-8")
    assert text.count('"45 cells above zero') == 1
    copy.write_text(text.replace('"45 cells above zero', '"44 cells above zero'), encoding="utf-8")
    result = nbval(tmp_path)
    assert result.returncode == 1
    assert "1 failed" in result.stdout
