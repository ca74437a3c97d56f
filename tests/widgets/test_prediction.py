"""Predictions: answers and locks in Python; tests/browser has the form in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmwidgets.lab import predict
from llmwidgets.lab.progress import Progress
from llmwidgets.widgets.prediction import Prediction

CHOICES = ["none", "only 9", "all"]


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    monkeypatch.setattr(Progress, "ignored", False)
    monkeypatch.chdir(tmp_path)
    return Progress()


def test_an_answer_is_locked_for_good() -> None:
    prediction = Prediction("How many?", unit="cells")
    prediction.answer = 40
    prediction.locked = True
    with pytest.raises(ValueError, match=r"locked at 40\.0"):
        prediction.answer = 45
    prediction.locked = False
    assert prediction.locked


def test_the_measurement_is_told_only_once_the_answer_is_locked() -> None:
    prediction = Prediction("How many?", unit="cells")
    assert prediction.reveal(45, explanation="9 + 8 + …", badge="COUNTED") is prediction
    assert "45" not in prediction.to_text()
    prediction.answer, prediction.reason = 40, "half of 81"
    prediction.locked = True
    assert prediction.to_text().splitlines() == [
        "Predict: How many?",
        "  your prediction: 40 cells (half of 81)",
        "  counted: 45 cells",
        "  9 + 8 + …",
    ]


def test_not_knowing_is_an_answer() -> None:
    prediction = Prediction("Which?", CHOICES)
    prediction.locked = True
    prediction.reveal("only 9", values=[0, 0.5], labels=["a", "<b>"])
    assert "I don't know" in prediction.to_text()
    assert prediction.wire_state()["_bars"] == {"values": [0, 0.5], "labels": ["a", "<b>"], "unit": ""}


@pytest.mark.parametrize("answer", ["9", 3, "Only 9"])
def test_an_answer_outside_the_choices_is_refused(answer: Any) -> None:
    prediction = Prediction("Which?", CHOICES)
    with pytest.raises(ValueError, match="only 9"):
        prediction.answer = answer
    with pytest.raises(ValueError, match="measured"):
        prediction.reveal(answer)
    assert prediction.answer is None


@pytest.mark.parametrize("answer", ["many", float("nan"), float("inf")])
def test_a_number_is_asked_for(answer: Any) -> None:
    with pytest.raises(ValueError, match="asks for a number"):
        Prediction("How many?").answer = answer


@pytest.mark.parametrize(
    ("bars", "match"),
    [
        ({"values": []}, "shape"),
        ({"values": [[1]]}, "shape"),
        ({"values": [-1]}, "at least 0"),
        ({"values": [float("nan")]}, "finite"),
        ({"values": [1, 2], "labels": ["a"]}, "labels has 1"),
    ],
)
def test_bars_that_do_not_fit_are_refused_and_nothing_changes(bars: Any, match: str) -> None:
    prediction = Prediction("How many?")
    with pytest.raises(ValueError, match=match):
        prediction.reveal(3, **bars)
    assert prediction.measured is None


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'unit'"):
        Prediction("How many?", units="cells")


def test_a_locked_answer_is_there_again(progress: Progress) -> None:
    first = predict("02.p1", "Which?", CHOICES)
    first.answer, first.reason = "all", "why not"
    assert progress.get("02.p1") == {}, "only what is locked is kept"
    first.locked = True
    again = predict("02.p1", "Which?", CHOICES)
    assert (again.answer, again.reason, again.locked) == ("all", "why not", True)


@pytest.mark.parametrize("answer", ["gone", 3, [1]])
def test_an_answer_that_no_longer_fits_is_asked_again(progress: Progress, answer: Any) -> None:
    progress.update("02.p1", answer=answer, locked=True)
    again = predict("02.p1", "Which?", CHOICES)
    assert (again.answer, again.locked) == (None, False)


def test_what_the_front_end_sends_is_kept(progress: Progress) -> None:
    prediction = predict("02.p2", "How many?", unit="cells")
    prediction.set_state({"answer": 40, "reason": "about half", "locked": True})
    assert (prediction.answer, prediction.locked) == (40.0, True)
    assert progress.get("02.p2") == {"answer": 40.0, "reason": "about half", "locked": True}
