"""`Prediction` as an exported page in Chromium: what is hidden until the answer is locked, by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from llmwidgets.widgets.page import write_page
from llmwidgets.widgets.prediction import Prediction

pytestmark = pytest.mark.browser

CHOICES = ["none", "only 9", "all"]
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(params=[("light", 960), ("dark", 340)], ids=["light-wide", "dark-narrow"])
def page(request: pytest.FixtureRequest, open_page: Callable[..., Page]) -> Page:
    number = Prediction(f"How many? {HOSTILE}", unit="cells")
    number.reveal(45, explanation=HOSTILE, badge="COUNTED")
    choice = Prediction("Which?", [*CHOICES, HOSTILE])
    choice.reveal("only 9", values=[0, 0, 2.5], labels=["a", HOSTILE, "c"])
    theme, width = request.param
    page = open_page(write_page([number, choice]), width=width, color_scheme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img").count() == 0
    return page


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


def test_not_knowing_shows_the_measurement_too(page: Page) -> None:
    number = page.locator("section.lw").first
    number.get_by_role("button", name="I don't know").click()
    number.locator("svg").wait_for()
    assert "You said that you don't know; counted: 45 cells." in number.locator(".lw-sentence").inner_text()
