from __future__ import annotations

from pathlib import Path

import pytest

from llmwidgets.lab import reset_progress
from llmwidgets.lab.progress import Progress


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    monkeypatch.setattr(Progress, "ignored", False)
    monkeypatch.chdir(tmp_path)
    return Progress()


def test_what_is_kept_is_found_again_and_can_be_reset(progress: Progress, tmp_path: Path) -> None:
    progress.update("02.e1", attempts=1)
    progress.update("02.e1", passed=True)
    assert Progress().get("02.e1") == {"attempts": 1, "passed": True}
    assert progress.path == tmp_path / ".llmwidgets" / "progress.json"
    reset_progress()
    assert Progress().get("02.e1") == {}
    reset_progress()  # nothing there is fine


@pytest.mark.parametrize("text", ["", "[1]", '{"02.e1": 3}', "\x00"])
def test_a_damaged_file_counts_as_none(progress: Progress, text: str) -> None:
    progress.path.parent.mkdir()
    progress.path.write_text(text)
    assert progress.get("02.e1") == {}
    progress.update("02.e1", hints=1)
    assert progress.get("02.e1") == {"hints": 1}


def test_a_folder_that_cannot_be_written_stops_nobody(progress: Progress) -> None:
    progress.path.parent.write_text("a file where the folder would be")
    progress.update("02.e1", hints=1)
    assert progress.get("02.e1") == {}


@pytest.mark.parametrize("name", ["PYTEST_CURRENT_TEST", "LLMWIDGETS_NO_PROGRESS"])
def test_nothing_is_kept_where_progress_is_ignored(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("PYTEST_CURRENT_TEST", "LLMWIDGETS_NO_PROGRESS"):
        monkeypatch.delenv(other, raising=False)
    progress = Progress(tmp_path)
    assert not progress.ignored
    monkeypatch.setenv(name, "1")
    progress.update("02.e1", hints=1)
    assert progress.ignored
    assert not progress.path.exists()
