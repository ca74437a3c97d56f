"""`AttentionHeatmap` in Python: what is sent, what is refused, what is two-way. No weights, no browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traitlets

import llmwidgets as lw
from llmwidgets.widgets.attention_tiles import THUMBNAIL_BYTES


def causal(layers: int, heads: int, length: int, seed: int = 0) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(size=(layers, heads, length, length)) * 2
    scores[..., np.triu(np.ones((length, length), bool), 1)] = -np.inf
    weights = np.exp(scores)
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def names(length: int) -> list[str]:
    return [f"t{i}" for i in range(length)]


def draw(weights: np.ndarray, **options: Any) -> lw.AttentionHeatmap:
    return lw.AttentionHeatmap.from_arrays(weights, names(weights.shape[-1]), **options)


def attention(layers: int = 2, heads: int = 4, kv_heads: int = 2, length: int = 12) -> lw.Attention:
    """A record as an engine makes it, from random queries and keys."""
    random = np.random.default_rng(1)
    return lw.Attention(
        tokens=tuple(names(length)),
        token_ids=np.arange(length),
        query_positions=np.arange(length),
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        layers=tuple(range(layers)),
        heads=tuple(range(heads)),
        queries=tuple(random.normal(size=(heads, length, 8)).astype(np.float32) for _ in range(layers)),
        keys=tuple(random.normal(size=(kv_heads, length, 8)).astype(np.float32) for _ in range(layers)),
        scalings=(8**-0.5,) * layers,
        sliding_windows=(None,) * layers,
        softcaps=(None,) * layers,
        sinks=(None,) * layers,
    )


def brute_force_max(weights: np.ndarray, cells: dict[str, Any]) -> np.ndarray:
    """The largest weight of each block, one block at a time."""
    rows, columns = cells["pool_rows"], cells["pool_columns"]
    blocks = [
        [
            weights[i : min(i + rows, cells["row_stop"]), j : min(j + columns, cells["column_stop"])].max()
            for j in range(cells["column_start"], cells["column_stop"], columns)
        ]
        for i in range(cells["row_start"], cells["row_stop"], rows)
    ]
    return np.array(blocks)


@pytest.mark.parametrize("length", [1, 2, 17, 512])
def test_a_causal_head_takes_at_most_t_squared_plus_t_bytes(length: int) -> None:
    figure = draw(causal(1, 2, length))
    assert figure.get_state(["_map"])["_map"]["cells"]["data"].nbytes <= length**2 + length


def test_the_triangle_holds_the_weights_row_by_row_to_three_digits() -> None:
    weights = causal(2, 2, 33)
    shown = draw(weights, layer=1, head=1)._map
    assert shown["triangle"]
    expected = [weights[1, 1, i, j] for i in range(33) for j in range(i + 1)]
    np.testing.assert_allclose(shown["cells"], expected, rtol=5e-4, atol=1e-7)


def test_a_map_that_is_not_causal_travels_whole() -> None:
    weights = np.full((3, 3), 1 / 3)
    shown = draw(weights)._map
    assert not shown["triangle"]
    np.testing.assert_allclose(shown["cells"], weights.ravel(), rtol=5e-4)


def test_fewer_queries_than_keys_are_the_last_positions() -> None:
    figure = draw(np.full((2, 5), 0.2))
    assert figure._facts["query_positions"] == [3, 4]
    assert figure._map["cells"].size == 10


@pytest.mark.parametrize("view", [[], [0, 1300, 0, 1300], [100, 900, 37, 1300], [500, 600, 1000, 1010]])
def test_a_tile_holds_the_maximum_of_each_block(view: list[int]) -> None:
    weights = causal(1, 1, 1300)
    figure = draw(weights)
    figure._view = view
    cells = figure._map
    expected = brute_force_max(weights[0, 0], cells)
    assert max(expected.shape) <= 513
    np.testing.assert_allclose(cells["cells"].reshape(expected.shape), expected, rtol=5e-4, atol=1e-7)


def test_a_single_spike_does_not_vanish_in_a_tile() -> None:
    weights = np.zeros((2000, 2000), np.float32)
    weights[1234, 777] = 1
    assert draw(weights)._map["cells"].max() == 1


@pytest.mark.parametrize(("layers", "heads", "length"), [(1, 1, 64), (8, 8, 40), (16, 32, 40), (2, 4, 1100)])
def test_thumbnails_together_are_at_most_64_kilobytes(layers: int, heads: int, length: int) -> None:
    weights = np.broadcast_to(causal(1, 1, length), (layers, heads, length, length))
    figure = draw(weights)
    assert figure._thumbnails == {}  # nothing until the front end asks
    figure.set_state({"_thumbnails_wanted": 1})
    shades = figure._thumbnails["shades"]
    assert shades.nbytes <= THUMBNAIL_BYTES == 65_536
    assert shades.shape[:2] == (layers, heads)
    assert shades.max() == 255  # the first row looks at itself with weight 1


@pytest.mark.parametrize(
    ("weights", "tokens", "options", "message"),
    [
        (np.full((2, 2), np.nan), ["a", "b"], {}, "weights holds NaN; allowed are numbers from 0 to 1"),
        (np.array([[-0.5, 0.5]]), ["a", "b"], {}, "weights reach from -0.5 to 0.5; allowed .* from 0 to 1"),
        (np.array([[0.5, 2]]), ["a", "b"], {}, "weights reach from 0.5 to 2; allowed .* from 0 to 1"),
        (np.array([[0.5, np.inf]]), ["a", "b"], {}, "weights reach .* inf; allowed"),
        (np.eye(2), ["a"], {}, "tokens has 1 entries, but weights has 2 key positions"),
        (np.eye(2), ["a", "b"], {"query_tokens": [0]}, "query_tokens has 1 entries, but weights has 2 rows"),
        (np.eye(2), ["a", "b"], {"query_tokens": [0, 9]}, "query_tokens must be positions from 0 to 1"),
        (np.eye(2)[:, :1], ["a"], {}, "weights has 2 rows for 1 keys"),
        (np.eye(2), ["a", "b"], {"num_kv_heads": 3}, "num_kv_heads=3 does not divide the 1 query heads"),
        (np.zeros(3), ["a"], {}, r"weights has shape \(3,\); allowed are \(Q, K\)"),
        (np.zeros((0, 0)), [], {}, r"weights has shape \(0, 0\)"),
        (np.eye(2).astype(complex), ["a", "b"], {}, "weights holds complex128"),
        (np.eye(2), ["a", "b"], {"layer": 1}, "layer=1 is not in the record; allowed: 0"),
        (np.eye(2), ["a", "b"], {"head": -1}, "head=-1 is not in the record; allowed: 0"),
    ],
)
def test_bad_input_names_what_came_and_what_is_allowed(weights, tokens, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        lw.AttentionHeatmap.from_arrays(weights, tokens, **options)


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("layer", 7, "layer=7 is not in the record; allowed: 0, 1"),
        ("head", 4, "head=4 is not in the record; allowed: 0 to 3"),
        ("selected_token", 12, "selected_token=12 is no query position of the record; allowed: 0 to 11"),
        ("pinned_tokens", [1, -1], "pinned_tokens=-1 is no query position of the record; allowed: 0 to 11"),
        ("_view", [0, 13, 0, 12], "not inside the 12 × 12 cells"),
    ],
)
def test_a_refused_trait_leaves_the_last_good_picture(trait: str, value: Any, message: str) -> None:
    figure = lw.AttentionHeatmap(attention(), layer=1, head=2)
    before, picture = getattr(figure, trait), figure._map
    with pytest.raises((ValueError, traitlets.TraitError), match=message):
        setattr(figure, trait, value)
    assert getattr(figure, trait) == before
    assert figure._map is picture
    assert (figure.layer, figure.head) == (1, 2)


def test_layer_and_head_are_two_way() -> None:
    weights = causal(2, 3, 9)
    figure = draw(weights)
    seen = []
    figure.observe(lambda change: seen.append((change["name"], change["new"])), ["layer", "head"])
    figure.set_state({"layer": 1, "head": 2})  # what the front end sends
    assert seen == [("layer", 1), ("head", 2)]
    assert (figure._map["layer"], figure._map["head"]) == (1, 2)
    np.testing.assert_allclose(figure._map["cells"], weights[1, 2][np.tril_indices(9)], rtol=5e-4, atol=1e-7)
    figure.head = 0
    assert figure._map["head"] == 0


def test_a_new_record_is_drawn_by_the_same_instance_and_keeps_what_still_holds() -> None:
    figure = lw.AttentionHeatmap(attention(), layer=1, head=3, selected_token=11, pinned_tokens=[2, 11])
    assert figure.badge == "MEASURED"
    model_id, shorter = figure.model_id, attention(length=5)
    figure.record = shorter
    assert figure.model_id == model_id
    assert figure.record is shorter
    assert (figure.layer, figure.head) == (1, 3)
    assert (figure.selected_token, figure.pinned_tokens) == (None, [2])
    assert len(figure._facts["tokens"]) == 5


def test_a_record_whose_weights_fail_leaves_the_last_good_picture() -> None:
    figure = lw.AttentionHeatmap(attention())
    good, picture, facts = figure.record, figure._map, figure._facts

    class Broken:
        tokens, query_positions, layers, heads = ("a",), np.arange(1), (0,), (0,)

        def weights(self, layer: int, head: int) -> np.ndarray:
            raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        figure.record = Broken()
    assert figure.record is good
    assert figure._map is picture
    assert figure._facts is facts


def test_grouped_query_heads_name_their_kv_head() -> None:
    assert lw.AttentionHeatmap(attention(heads=4, kv_heads=2))._facts["kv_heads"] == [0, 0, 1, 1]
    assert draw(causal(1, 6, 3), num_kv_heads=3)._facts["kv_heads"] == [0, 0, 1, 1, 2, 2]


def test_to_text_names_the_strongest_keys() -> None:
    figure = draw(np.array([[1, 0, 0], [0.25, 0.75, 0], [0.1, 0.2, 0.7]]))
    text = figure.to_text()
    assert "layer 0, head 0 (reads KV head 0): 3 query tokens × 3 key tokens" in text
    assert "'t2'@2 looks at 't2'@2 0.70, 't1'@1 0.20, 't0'@0 0.10" in text


def test_a_page_holds_every_head_when_they_are_small() -> None:
    figure = draw(causal(2, 3, 9))
    assert figure._all_maps == []
    figure.complete()
    assert [(one["layer"], one["head"]) for one in figure._all_maps] == [
        (i, j) for i in (0, 1) for j in range(3)
    ]


def test_a_record_displays_itself_as_the_heatmap() -> None:
    data, _ = attention()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("Attention weights of layer 0, head 0")
