"""Predictions: answers and locks in Python, and the form in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from llmwidgets.lab import predict
from llmwidgets.lab.progress import Progress
from llmwidgets.widgets.page import write_page
from llmwidgets.widgets.prediction import Prediction
from tests.browser.chromium import collect_errors, launch

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


HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(params=[("light", 960), ("dark", 340)], ids=["light-wide", "dark-narrow"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    number = Prediction(f"How many? {HOSTILE}", unit="cells")
    number.reveal(45, explanation=HOSTILE, badge="COUNTED")
    choice = Prediction("Which?", [*CHOICES, HOSTILE])
    choice.reveal("only 9", values=[0, 0, 2.5], labels=["a", HOSTILE, "c"])
    write_page([number, choice], tmp_path / "page.html")
    theme, width = request.param
    with sync_playwright() as playwright:
        browser = launch(playwright)
        opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        errors = collect_errors(opened)
        opened.goto((tmp_path / "page.html").as_uri())
        opened.wait_for_selector("html[data-painted=true]", state="attached")
        yield opened
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.locator("img").count() == 0
        assert not errors
        browser.close()


@pytest.mark.browser
def test_the_measurement_appears_once_the_answer_is_locked_by_keyboard(page: Page) -> None:
    number, choice = page.locator("section.lw").all()
    assert number.locator("svg").count() == 0
    assert not number.locator(".lw-badge").is_visible()
    assert number.get_by_role("button", name="Lock").is_disabled()
    number.get_by_role("spinbutton").focus()
    page.keyboard.type("40")
    page.keyboard.press("Tab")
    page.keyboard.type("about half")
    page.keyboard.press("Enter")
    number.locator("svg").wait_for()
    assert "You predicted 40 cells; counted: 45 cells." in number.locator(".lw-sentence").inner_text()
    assert "about half" in number.locator(".lw-reason").inner_text()
    assert number.locator(".lw-badge").inner_text() == "COUNTED"
    assert not number.locator("form").is_visible()

    choice.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    choice.get_by_role("button", name="Lock").press("Enter")
    choice.locator("svg").wait_for()
    assert "only 9, as you predicted" in choice.locator(".lw-sentence").inner_text()
    assert choice.locator("svg rect").count() == 3, "background, the right choice, and one bar of three"


@pytest.mark.browser
def test_not_knowing_shows_the_measurement_too(page: Page) -> None:
    number = page.locator("section.lw").first
    number.get_by_role("button", name="I don't know").click()
    number.locator("svg").wait_for()
    assert "You said that you don't know; counted: 45 cells." in number.locator(".lw-sentence").inner_text()
