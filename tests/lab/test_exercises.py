"""What all exercises share: tasks, hints, progress, and answers that are no answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmwidgets.lab import check, exercise, hint, solution
from llmwidgets.lab.exercises.catalogue import MODULES
from llmwidgets.lab.progress import Progress


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    monkeypatch.setattr(Progress, "ignored", False)
    monkeypatch.chdir(tmp_path)
    return Progress()


@pytest.mark.parametrize("which", MODULES)
def test_a_task_shows_as_text_and_as_markdown(which: str) -> None:
    shown = exercise(which)._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/markdown"}
    assert which in shown["text/plain"]
    assert repr(exercise(which)) == shown["text/plain"]


@pytest.mark.parametrize("call", [exercise, check, hint, solution])
def test_an_unknown_exercise_is_named_with_what_there_is(call: Any) -> None:
    with pytest.raises(ValueError, match=r"'99\.e1'; there are 01\.e1"):
        call("99.e1")


def test_hints_come_one_after_the_other(progress: Progress) -> None:
    headings = [hint("02.e1").heading for _ in range(4)]
    assert headings == [f"Hint {level} of 3 for 02.e1" for level in (1, 2, 3, 3)]
    assert hint("02.e2").heading == "Hint 1 of 3 for 02.e2"
    assert len({hint("02.e1", level).body for level in (1, 2, 3)}) == 3
    with pytest.raises(ValueError, match="level=4"):
        hint("02.e1", 4)


def test_attempts_are_kept_and_a_pass_stays(progress: Progress) -> None:
    check("02.e2", None)
    assert progress.get("02.e2") == {}
    check("02.e2", lambda n, m: 3)
    assert progress.get("02.e2") == {"attempts": 1, "passed": False}
    names: dict[str, Any] = {}
    exec("import numpy as np\n" + solution("02.e2").body.strip("`").removeprefix("python"), names)
    check("02.e2", names["may_look"])
    check("02.e2", lambda n, m: 3)
    assert progress.get("02.e2") == {"attempts": 3, "passed": True}


@pytest.mark.parametrize("answer", [3, "text", [1, 2], object()])
def test_an_answer_that_is_no_function_is_said(answer: Any) -> None:
    verdict = check("02.e1", answer)
    assert not verdict.ok
    assert "asks for a function" in verdict.message


def test_a_function_with_other_arguments_is_said() -> None:
    verdict = check("02.e1", lambda q: q)
    assert "raised TypeError" in verdict.message
    assert repr(verdict).startswith("✗ ")
