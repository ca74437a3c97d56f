"""`Rotation`, `Rope` and `PositionLoss` alone: the rotation against complex numbers, refusals, the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmwidgets.records.position_loss import PositionLoss
from llmwidgets.records.record import load_record
from llmwidgets.records.rope import Rope, apply_rope
from llmwidgets.records.rotation import Rotation

FREQUENCIES = (1 / 10_000 ** (np.arange(4) / 4)).astype(np.float32)
EDGES = np.array([0, 8, 16, 32])


def rope(scaling: str = "none", rows: int = 1, factor: float = 1.0) -> Rope:
    inv_freq = np.stack([FREQUENCIES / (row + 1) for row in range(rows)])
    kind = {"none": "default"}.get(scaling, scaling)
    parameters: dict[str, str | int | float] = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 2}
    return Rope(scaling, parameters, 16 * np.arange(1, rows + 1), inv_freq, factor)


def rotation(**changed: Any) -> Rotation:
    random = np.random.default_rng(0)
    vectors = random.standard_normal
    made: dict[str, Any] = {
        "tokens": ("a", "b", "c"),
        "token_ids": np.array([5, 6, 7]),
        "num_layers": 3,
        "num_heads": 4,
        "num_kv_heads": 2,
        "layers": (0, 2),
        "heads": (1, 3),
        "queries": tuple(vectors((2, 3, 10)).astype(np.float32) for _ in range(2)),
        "keys": tuple(vectors((2, 3, 10)).astype(np.float32) for _ in range(2)),
        "multipliers": (0.5, 0.25),
        "interleaved": False,
        "first_turned": 0,
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "trained_length": 16,
        "ropes": (rope(), rope("dynamic", rows=3), rope("yarn", factor=1.25)),
        "max_distance": 40,
        "shifts": (1, 5),
        "shift_changes": np.array([[1e-6, 2e-6], [3e-6, 0]], np.float32),
        "loss": PositionLoss(("none",), EDGES, np.array([8, 8, 16]), np.log([[2, 4, 8]]).astype("f4"), 1),
    }
    return Rotation(**(made | changed))


def as_complex(x: Any, interleaved: bool, start: int, pairs: int) -> Any:
    """Return the pairs as complex numbers, the other numbers apart."""
    middle = x[..., start : start + 2 * pairs]
    if interleaved:
        return middle[..., 0::2] + 1j * middle[..., 1::2]
    return middle[..., :pairs] + 1j * middle[..., pairs:]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("factor", [1.0, 1.25])
def test_a_pair_is_turned_as_a_complex_number_is(interleaved: bool, start: int, factor: float) -> None:
    x = np.random.default_rng(1).standard_normal((2, 5, 12)).astype(np.float32)
    angles = np.arange(5, dtype=np.float32)[:, None] * FREQUENCIES
    turned = apply_rope(x, angles, factor, interleaved, start)
    exact = as_complex(x, interleaved, start, 4) * np.exp(1j * angles) * factor
    np.testing.assert_allclose(as_complex(turned, interleaved, start, 4), exact, atol=1e-6)
    still = np.r_[0:start, start + 8 : 12]
    assert (turned[..., still] == x[..., still]).all()
    assert turned.dtype == np.float32


def test_one_vector_at_many_positions_gives_one_row_a_position() -> None:
    x = np.arange(8, dtype=np.float32)
    turned = apply_rope(x, np.arange(6)[:, None] * FREQUENCIES)
    assert turned.shape == (6, 8)
    assert (turned[0] == x).all()


@pytest.mark.parametrize("scaling", ["none", "dynamic", "yarn"])
@pytest.mark.parametrize("interleaved", [False, True])
def test_scores_by_distance_are_the_products_of_turned_vectors(scaling: str, interleaved: bool) -> None:
    record = rotation(interleaved=interleaved, first_turned=2)
    scores = record.scores(2, 3, 1, 0, scaling=scaling)
    assert scores.shape == (41,)
    query, key = record.queries[1][1, 1].astype(float), record.keys[1][1, 0].astype(float)
    q, k = (as_complex(vector, interleaved, 2, 4) for vector in (query, key))
    factor = record.rope(scaling).attention_factor
    for distance in (0, 1, 15, 16, 31, 32, 40):
        frequencies = record.rope(scaling).frequencies(distance + 1)
        product = (q * np.exp(1j * distance * frequencies) * k.conj()).real.sum() * factor**2
        assert scores[distance] == pytest.approx(0.25 * (product + query[:2] @ key[:2]), abs=1e-5)


def test_frequencies_follow_the_length() -> None:
    dynamic = rope("dynamic", rows=3)
    assert dynamic.depends_on_length
    assert not rope().depends_on_length
    for length, row in ((1, 0), (16, 0), (17, 1), (32, 1), (33, 2), (999, 2)):
        assert (dynamic.frequencies(length) == dynamic.inv_freq[row]).all()
    assert dynamic.angles([0, 20]).tolist() == (np.float32([[0], [20]]) * dynamic.inv_freq[1]).tolist()


def test_perplexity_of_buckets_and_between_edges() -> None:
    loss = rotation().loss
    assert loss is not None
    np.testing.assert_allclose(loss.perplexity(), [2, 4, 8], rtol=1e-6)
    assert loss.perplexity_between(0, 16) == pytest.approx(np.exp((np.log(2) + np.log(4)) / 2))
    weighted = np.exp((8 * np.log(4) + 16 * np.log(8)) / 24)
    assert loss.perplexity_between(8, 32) == pytest.approx(weighted)
    with pytest.raises(ValueError, match=r"start=3 is no edge of a bucket; edges are \[0, 8, 16, 32\]"):
        loss.perplexity_between(3, 16)
    with pytest.raises(ValueError, match="start=16 is not below stop=8"):
        loss.perplexity_between(16, 8)
    with pytest.raises(ValueError, match="scaling='yarn' was not measured; measured are 'none'"):
        loss.perplexity("yarn")


def test_it_goes_to_disk_and_back(tmp_path: Path) -> None:
    record = rotation()
    record.save(tmp_path / "rotation.lw")
    again = load_record(tmp_path / "rotation.lw")
    assert repr(again) == repr(record)
    assert again.ropes[1].rope_parameters == record.ropes[1].rope_parameters
    np.testing.assert_array_equal(again.scores(0, 1, 2, 1), record.scores(0, 1, 2, 1))
    np.testing.assert_array_equal(again.loss.loss, record.loss.loss)


def test_what_is_held_cannot_be_written_to() -> None:
    record = rotation()
    for array in (record.queries[0], record.shift_changes, record.inv_freq, record.loss.loss):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"token_ids": np.array([1])}, "token_ids must fit"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide"),
        ({"layers": (0, 3)}, "layers must name some of 3"),
        ({"heads": (3, 1)}, "heads must ascend"),
        ({"multipliers": (1.0,)}, "multipliers must have one entry a layer"),
        ({"queries": (np.zeros((2, 3, 10), np.float32), np.zeros((1, 3, 10), np.float32))}, "wrong shape"),
        ({"keys": (np.zeros((2, 3, 8), np.float32),) * 2}, "keys have a wrong shape"),
        ({"first_turned": 3}, "too small to be turned"),
        ({"ropes": (rope("linear"),)}, "the first of ropes must be 'none'"),
        ({"ropes": (rope(), rope())}, "names of their own"),
        ({"trained_length": 0}, "lengths must be positive"),
        ({"shift_changes": np.zeros((1, 2), np.float32)}, "shift_changes must have one entry"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rotation(**changed)


def test_ropes_and_losses_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="one row of frequencies for each of the lengths"):
        replace(rope(), lengths=np.array([1, 2]))
    with pytest.raises(ValueError, match="lengths must ascend"):
        replace(rope("dynamic", rows=2), lengths=np.array([2, 1]))
    loss = rotation().loss
    for changed, message in (
        ({"edges": np.array([0, 8, 8, 16])}, "edges must ascend"),
        ({"num_tokens": np.array([1, 2])}, "num_tokens"),
        ({"scalings": ("none", "yarn")}, "loss must have a row"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(loss, **changed)


def test_unknown_layers_heads_tokens_and_scalings_are_named() -> None:
    record = rotation()
    for arguments, message in (
        ((1, 1, 0, 0), "layer=1 is not in the record; allowed are 0, 2"),
        ((0, 0, 0, 0), "head=0 is not in the record; allowed are 1, 3"),
        ((0, 1, 3, 0), "token=3 is not in the prompt; allowed are 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            record.scores(*arguments)
    with pytest.raises(ValueError, match="scaling='linear' is not in the record"):
        record.rope("linear")
