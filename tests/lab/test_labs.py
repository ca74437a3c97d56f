"""What holds for every lab notebook as it is stored; nothing is run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmwidgets.lab.notebooks import find_labs, read_notebook, revision

LABS = [lab.path for lab in find_labs()]
SECTIONS = [
    "The claim", "Recall", "Predict", "Play", "Explain the gap", "Worked example", "Exercises",
    "At real scale", "In production", "Reading", "Exit ticket",
]  # fmt: skip
CHECKED = "nbval-check-output"


def cells(path: Path, *tags: str) -> list[dict[str, Any]]:
    found = read_notebook(path)["cells"]
    return [cell for cell in found if set(tags) <= set(cell["metadata"].get("tags", []))]


def texts(cell: dict[str, Any]) -> str:
    parts = [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]]
    return "".join("".join(part) for part in parts)


def test_the_first_cell_of_start_here_is_three_lines() -> None:
    assert "".join(read_notebook(LABS[0])["cells"][0]["source"]).splitlines() == [
        "import llmwidgets as lw",
        "engine = lw.load()",
        'lw.explore(engine.attend, prompt="Alice was beginning to get very tired", '
        "layer=(0, 7), head=(0, 7))",
    ]


@pytest.mark.parametrize("path", LABS[1:], ids=lambda path: path.stem)
def test_a_lab_has_all_sections_in_order(path: Path) -> None:
    text = "\n".join(line for cell in cells(path) for line in "".join(cell["source"]).splitlines())
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_stored_outputs_are_text_and_pictures(path: Path) -> None:
    notebook = read_notebook(path)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info", "llmwidgets"}
    shown = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in shown if output["output_type"] == "error"]
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "text/markdown", "image/png"}
    assert "image/png" in kinds
    assert all(output.get("name") != "stderr" for output in shown)


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_outputs_are_of_the_text_that_is_there(path: Path) -> None:
    notebook = read_notebook(path)
    stored = notebook["metadata"]["llmwidgets"]["revision"]
    assert stored == revision(notebook), "run tools/execute_labs.py"
    assert all(cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code")


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_six_outputs_at_least_are_checked_and_hold_no_decimals(path: Path) -> None:
    checked = cells(path, CHECKED)
    assert len(checked) >= 6
    for cell in checked:
        assert texts(cell), "".join(cell["source"])
        assert not re.search(r"\d\.\d|\bseconds?\b|\bms\b", texts(cell))


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_code_that_only_draws_is_folded(path: Path) -> None:
    for cell in cells(path, "predict") + (cells(path, "play") if path != LABS[0] else []):
        assert cell["metadata"]["jupyter"]["source_hidden"]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_links_between_labs_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+\.ipynb)\)", json.dumps(read_notebook(path))):
        assert (path.parent / link).exists()
