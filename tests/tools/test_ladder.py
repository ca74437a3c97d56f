"""The card's tables of fewer bits: what they say, how they are put in, and one rung measured again."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llmwidgets.engine import load
from tools.training.card import read_figures, write_ladder, write_positions
from tools.training.ladder import (
    BITS,
    GRID_METHODS,
    GROUPS,
    LADDER_HEADING,
    Climb,
    GridRung,
    Ladder,
    OutlierRung,
    Rung,
    ladder_section,
)

MODELS = Path(__file__).resolve().parents[2] / "llmwidgets" / "models"


def given() -> Ladder:
    """A small ladder on which AWQ is worse than RTN in one place."""
    grid = []
    for bits in BITS:
        for size in GROUPS:
            for rank, method in enumerate(GRID_METHODS):
                worse = method == "awq" and (bits, size) == (4, 64)
                value = 20.0 - rank + (5.0 if worse else 0.0)
                label = f"{method} {bits} {size}"
                grid.append(GridRung(label, 1000, {"books": value, "python": value / 2}, method, bits, size))
    both = {"books": 10.0, "python": 5.0}
    return Ladder(
        num_weights=4000,
        float_nbytes=16000,
        other_nbytes=800,
        windows={"books": 3, "python": 4},
        tokens={"books": 3000, "python": 4000},
        calibration_tokens=512,
        weights=[Rung("float32", 16000, both)],
        grid=grid,
        cache=[Rung("float32", 512, both)],
        outliers=[OutlierRung("float32", {"1": 10.0, "20": 10.0})],
    )


def test_the_card_says_what_the_figures_say():
    ladder = read_figures(MODELS).ladder
    assert ladder is not None
    card = (MODELS / "README.md").read_text(encoding="utf-8")
    assert ladder_section(ladder) in card
    assert {(r.method, r.bits, r.group_size) for r in ladder.grid} == {
        (method, bits, size) for method in GRID_METHODS for bits in BITS for size in GROUPS
    }
    for rung in [*ladder.weights, *ladder.grid, *ladder.cache]:
        for value in rung.perplexity.values():
            assert f"{value:.3f}" in card
    for outlier in ladder.outliers:
        assert " | ".join(f"{value:.3f}" for value in outlier.perplexity.values()) in card


def test_what_is_worse_is_said_to_be_worse():
    text = ladder_section(given())
    assert "- On books, GPTQ is better than RTN in 9 of 9 settings." in text
    assert "- On books, AWQ is better than RTN in 8 of 9 settings; not at 4 bits and groups of 64." in text
    assert "| 4 | 64 | 0.00 | 2.00 | 20.000 (10.000) | 19.000 (9.500) | 23.000 (11.500) |" in text


def test_a_new_ladder_replaces_the_old_one_and_nothing_else(tmp_path):
    for name in ("README.md", "figures.json"):
        shutil.copy(MODELS / name, tmp_path)
    recorded = read_figures(tmp_path)
    write_ladder(tmp_path, given())
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.count(f"## {LADDER_HEADING}") == 1
    assert ladder_section(given()) in card
    assert read_figures(tmp_path) == replace(recorded, ladder=given())
    write_positions(tmp_path, recorded.positions)  # in its own place, whatever stands behind it
    write_ladder(tmp_path, recorded.ladder)
    for name in ("README.md", "figures.json"):
        assert (tmp_path / name).read_bytes() == (MODELS / name).read_bytes()


def test_a_rung_is_what_the_engine_measures(monkeypatch):
    climb = Climb(MODELS, num_windows=1)
    made = climb.engine.quantize("rtn", 3, 32)
    value = climb.perplexity(made)["books"]
    text = (MODELS / "text" / "evaluation_books.txt").read_text(encoding="utf-8")
    again = load(MODELS / "classics").quantize("rtn", 3, 32).perplexity(text, num_windows=1)
    assert value == pytest.approx(float(again), abs=1e-4)
    assert climb.tokens["books"] == again.num_tokens == 1023
