"""`RotaryDial` without a browser: traits, what travels, what is refused, what it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from llmwidgets.records.rotation import Rotation
from llmwidgets.widgets.rotary_dial import RotaryDial
from tests.records.test_rotation import rotation

FREQUENCIES = 1 / 10_000 ** (np.arange(8) / 8)


@pytest.fixture
def dial() -> RotaryDial:
    return RotaryDial(rotation())


def score_from_wire(dial: RotaryDial, distance: int) -> float:
    """Return the score as the front end computes it, from what travels."""
    wire, facts = dial._vectors, dial._facts
    rope = [rope["scaling"] for rope in facts["ropes"]].index(dial.scaling)
    lengths = facts["ropes"][rope]["lengths"]
    row = next((i for i, length in enumerate(lengths) if distance + 1 <= length), len(lengths) - 1)
    omega = dial._frequencies[rope][row].astype(float)
    pairs = len(omega)
    q, k = wire["queries"][dial.query_token].astype(float), wire["keys"][dial.key_token].astype(float)
    cos = q[:pairs] * k[:pairs] + q[pairs : 2 * pairs] * k[pairs : 2 * pairs]
    sin = q[:pairs] * k[pairs : 2 * pairs] - q[pairs : 2 * pairs] * k[:pairs]
    turned = (cos * np.cos(distance * omega) + sin * np.sin(distance * omega)).sum()
    factor = facts["ropes"][rope]["attention_factor"]
    return float((turned * factor**2 + q[2 * pairs :] @ k[2 * pairs :]) * wire["multiplier"])


@pytest.mark.parametrize("scaling", ["none", "dynamic", "yarn"])
@pytest.mark.parametrize("layout", [{}, {"interleaved": True}, {"first_turned": 2}])
def test_what_travels_gives_the_records_scores(scaling: str, layout: dict[str, Any]) -> None:
    record = rotation(**layout)
    dial = RotaryDial(record, layer=2, head=3, query_token=2, key_token=0, scaling=scaling)
    exact = record.scores(2, 3, 2, 0, scaling=scaling)
    for distance in (0, 1, 7, 20, 40):
        assert score_from_wire(dial, distance) == pytest.approx(exact[distance], abs=1e-5)


def test_it_begins_where_the_tokens_stand(dial: RotaryDial) -> None:
    assert (dial.layer, dial.head, dial.query_token, dial.badge) == (0, 1, 2, "MEASURED")
    assert dial.position == 2
    assert dial.distance == 2 - dial.key_token
    scores = [dial.record.scores(0, 1, 2, key, [2 - key])[0] for key in range(1, 2)]
    assert dial.key_token == 1 + int(np.argmax(scores)), (
        "the strongest, but for the first and the query's own"
    )


def test_the_key_never_stands_before_position_0(dial: RotaryDial) -> None:
    dial.distance = 30
    assert dial.position == 30
    dial.position = 12
    assert dial.distance == 12
    made = RotaryDial(rotation(), distance=20)
    assert (made.position, made.distance) == (20, 20)


def test_another_head_brings_its_vectors(dial: RotaryDial) -> None:
    before = dial._vectors["queries"]
    dial.layer = 2
    dial.head = 3
    assert (dial._vectors["layer"], dial._vectors["head"]) == (2, 3)
    assert not np.array_equal(dial._vectors["queries"], before)


def test_a_new_record_keeps_what_still_fits(dial: RotaryDial) -> None:
    dial.layer, dial.scaling, dial.frequency, dial.distance = 2, "yarn", 3, 40
    record = rotation(max_distance=20, ropes=rotation().ropes[:1])
    dial.record = record
    assert isinstance(dial.record, Rotation)
    assert (dial.layer, dial.scaling, dial.frequency, dial.distance, dial.position) == (2, "none", 3, 20, 20)
    assert dial._facts["revision"] == 2


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"layer": 1}, "layer=1 is not in the record; allowed are 0, 2"),
        ({"head": 0}, "head=0 is not in the record; allowed are 1, 3"),
        (
            {"scaling": "linear"},
            "scaling='linear' is not in the record; allowed are 'none', 'dynamic', 'yarn'",
        ),
        ({"position": 41}, "position=41 is not in the record; allowed are 0 to 40"),
        ({"distance": -1}, "distance=-1"),
        ({"frequency": 4}, "frequency=4 is not in the record; allowed are 0 to 3"),
        ({"query_token": 3}, "query_token=3 is not in the record; allowed are 0 to 2"),
    ],
)
def test_bad_traits_are_refused_by_name(traits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotaryDial(rotation(), **traits)
    name, value = next(iter(traits.items()))
    with pytest.raises(ValueError, match=message):
        setattr(RotaryDial(rotation()), name, value)


def test_an_unknown_keyword_is_refused_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match="no trait 'frequancy'; did you mean 'frequency'"):
        RotaryDial(rotation(), frequancy=3)


def test_from_arrays_draws_frequencies_scores_and_perplexities() -> None:
    dial = RotaryDial.from_arrays(
        {"mine": FREQUENCIES, "slower": FREQUENCIES / 4},
        scores=np.cos(np.arange(100) / 9),
        perplexities={"mine": [10, 12, 90], "slower": [14, 15, 16]},
        edges=[0, 32, 64, 128],
        trained_length=64,
        scaling="slower",
    )
    assert (dial.badge, dial.scaling, dial._facts["max_distance"]) == ("GIVEN", "slower", 256)
    assert dial.distance == 4, "hands that can be told apart"
    np.testing.assert_allclose(dial._frequencies[0][0], FREQUENCIES, rtol=1e-6)
    np.testing.assert_allclose(np.exp(dial._facts["loss"]["loss"])[0], [10, 12, 90], rtol=1e-5)
    assert len(dial._facts["scores"]) == 100
    assert dial._vectors == {}
    assert RotaryDial.from_arrays(FREQUENCIES).to_text().startswith("Rotary dial: 8 pairs")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"inv_freq": np.zeros((2, 3))}, r"inv_freq of 'none' has shape \(2, 3\)"),
        ({"inv_freq": [1, np.nan]}, "allowed is a row of finite numbers"),
        ({"inv_freq": []}, "allowed is a row of finite numbers"),
        ({"inv_freq": ["a"]}, "allowed is a row of finite numbers"),
        ({"inv_freq": {"a": [1, 2], "b": [1]}}, "as many in each"),
        ({"scores": [[1]]}, "scores has shape"),
        ({"perplexities": {"a": [2, 3]}}, "edges has none entries; 2 buckets are bounded by 3 positions"),
        ({"perplexities": {"a": [2, 3]}, "edges": [0, 4]}, "edges has 2 entries"),
        ({"perplexities": {"a": [2, 0.5]}, "edges": [0, 4, 8]}, "a perplexity is below 1"),
        ({"perplexities": {"a": [2], "b": [2, 3]}, "edges": [0, 4]}, "all need the same"),
        ({"trained_length": 0}, "trained_length=0 is not allowed"),
        ({"max_distance": 2**30}, "max_distance=1073741824 is not allowed"),
    ],
)
def test_bad_arrays_are_refused_by_name(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotaryDial.from_arrays(**({"inv_freq": FREQUENCIES} | bad))


def test_the_page_has_every_head_and_no_markup_from_tokens() -> None:
    dial = RotaryDial(rotation(tokens=("<img src=x onerror=alert(1)>", "</script>", "c")))
    page = dial.to_html()
    assert "<img" not in page
    assert len(dial._all_vectors) == 4
    state = dial.wire_state()
    assert json.dumps(state["_facts"])


def test_it_says_what_it_shows_in_words(dial: RotaryDial) -> None:
    dial.position, dial.distance = 30, 10
    lines = dial.to_text().splitlines()
    assert lines[0] == (
        "Rotary dial: 4 pairs, scaling 'none'; the query stands at 30, the key at 20, 10 apart"
    )
    score = dial.record.scores(0, 1, 2, dial.key_token, [10])[0]
    assert lines[1].endswith(f"query of 'c', key of 'b': score {score:.3f}")
    assert lines[2] == f"  pair 0: one turn in 6 positions, hands {np.degrees(10) % 360:.0f}° apart"
    assert lines[-1] == "  perplexity by position, none: 2, 4, 8"
    assert repr(dial) == "RotaryDial(pairs=4, position=30, distance=10, scaling='none')"


def test_a_record_at_the_end_of_a_cell_draws_itself() -> None:
    made, _ = rotation()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in made
    assert made["text/plain"].startswith("Rotary dial: 4 pairs")
