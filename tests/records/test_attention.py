"""`Attention` by itself: arithmetic, chunks, shapes that must agree."""

import dataclasses
import time

import numpy as np
import pytest

from llmwidgets.records.attention import Attention, AttentionEdit


def attention(num_keys=12, first_query=0, heads=(0, 1, 2, 3), dtype=np.float32, **changes):
    """Return a record of random queries and keys: two layers, four query heads over two key-value heads."""
    random = np.random.default_rng(0)
    num_queries = num_keys - first_query
    kv_heads = sorted({head // 2 for head in heads})
    fields = {
        "tokens": tuple(f"t{i}" for i in range(num_keys)),
        "token_ids": np.arange(num_keys, dtype=np.int64),
        "query_positions": np.arange(first_query, num_keys, dtype=np.int64),
        "num_layers": 2,
        "num_heads": 4,
        "num_kv_heads": 2,
        "layers": (0, 1),
        "heads": heads,
        "queries": tuple(random.normal(size=(len(heads), num_queries, 8)).astype(dtype) for _ in range(2)),
        "keys": tuple(random.normal(size=(len(kv_heads), num_keys, 8)).astype(dtype) for _ in range(2)),
        "scalings": (0.5, 0.25),
        "sliding_windows": (None, 5),
        "softcaps": (None, 3.0),
        "sinks": (None, np.array([0.5, -1, 2, 0], np.float32)[list(heads)]),
    }
    return Attention(**(fields | changes))


def by_hand(record, layer, row, query):
    """Return one row of weights and the sink's share, one key at a time, in float64."""
    position = int(record.query_positions[query])
    index, head = record.layers.index(layer), record.heads[row]
    kv = sorted({h // 2 for h in record.heads}).index(head // 2)
    exponentials = np.zeros(len(record.tokens))
    for key in range(len(record.tokens)):
        window = record.sliding_windows[layer]
        if key > position or (window is not None and key <= position - window):
            continue
        q = record.queries[index][row, query].astype(float)
        score = q @ record.keys[index][kv, key].astype(float) * record.scalings[index]
        if record.softcaps[index]:
            score = record.softcaps[index] * np.tanh(score / record.softcaps[index])
        exponentials[key] = np.exp(score)
    sink = 0.0 if record.sinks[index] is None else np.exp(float(record.sinks[index][row]))
    return exponentials / (exponentials.sum() + sink), sink / (exponentials.sum() + sink)


@pytest.mark.parametrize("first_query", [0, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("heads", [(0, 1, 2, 3), (2,), (1, 3)])
def test_weights_and_sinks_by_hand(first_query, dtype, heads):
    record = attention(first_query=first_query, heads=heads, dtype=dtype)
    for layer in record.layers:
        for row, head in enumerate(heads):
            weights, sink = record.weights(layer, head), record.sink_mass(layer, head)
            assert (weights.dtype, weights.shape) == (np.float32, (12 - first_query, 12))
            assert (sink is None) == (layer == 0)
            for query in range(len(weights)):
                expected, share = by_hand(record, layer, row, query)
                np.testing.assert_allclose(weights[query], expected, atol=1e-6)
                if sink is not None:
                    assert sink[query] == pytest.approx(share, abs=1e-6)


def test_rows_and_chunks_give_the_same_as_the_whole(monkeypatch):
    record = attention(40)
    for layer in (0, 1):
        whole, sink = record.weights(layer, 1), record.sink_mass(layer, 1)
        np.testing.assert_allclose(record.weights_rows(layer, 1, 13, 29), whole[13:29], atol=1e-7)
        assert record.weights_rows(layer, 1, 5, 5).shape == (0, 40)
        monkeypatch.setattr("llmwidgets.records.attention._CHUNK", 120)  # three rows at once
        np.testing.assert_allclose(record.weights(layer, 1), whole, atol=1e-7)
        if sink is not None:
            np.testing.assert_allclose(record.sink_mass(layer, 1), sink, atol=1e-7)
        monkeypatch.undo()


def test_scores_too_large_for_exp_still_sum_to_one():
    record = attention(queries=(np.full((4, 12, 8), 300, np.float32),) * 2)
    assert np.isfinite(record.weights(0, 0)).all()
    np.testing.assert_allclose(record.weights(0, 0).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda a: a.weights(2, 0), "layer=2 is not allowed; captured are 0, 1"),
        (lambda a: a.weights(-1, 0), "layer=-1 is not allowed"),
        (lambda a: a.weights(0, 4), "head=4 is not allowed; captured are 0 to 3"),
        (lambda a: a.weights("0", 0), "layer='0' is not allowed"),
        (lambda a: a.sink_mass(0, 9), "head=9 is not allowed"),
        (lambda a: a.weights_rows(0, 0, 3, 13), "rows 3 to 13 are not allowed; there are rows 0 to 12"),
        (lambda a: a.weights_rows(7, 0, 3, 3), "layer=7 is not allowed"),
        (lambda a: a.kv_head(4), "head=4 is not allowed; the model has heads 0 to 3"),
        (lambda a: a.sliding_window(2), "layer=2 is not allowed; the model has layers 0 to 1"),
    ],
)
def test_what_is_not_there_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(attention())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": ("a",)}, "token_ids must have one entry for each token"),
        ({"query_positions": np.array([3, 2])}, "query_positions must ascend"),
        ({"query_positions": np.array([11, 12])}, "query_positions must ascend within the tokens"),
        ({"query_positions": np.zeros(0, np.int64)}, "at least one token and one query"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide num_heads"),
        ({"num_kv_heads": 0}, "num_kv_heads must divide num_heads"),
        ({"layers": (1, 0)}, "layers must ascend"),
        ({"layers": (0, 5)}, "layers must name some of 2"),
        ({"heads": ()}, "heads must name some of 4"),
        ({"scalings": (1.0,)}, "scalings must have one entry a layer"),
        ({"sliding_windows": (None,)}, "sliding_windows must have one entry a layer"),
        ({"sliding_windows": (None, 0)}, "a sliding window must be positive"),
        ({"queries": (np.zeros((4, 12, 8), np.float32),) * 1}, "queries must have one entry a layer"),
        ({"queries": (np.zeros((4, 11, 8), np.float32),) * 2}, "queries have a wrong shape"),
        ({"queries": (np.zeros((4, 12, 9), np.float32),) * 2}, "differ in head size"),
        ({"keys": (np.zeros((4, 12, 8), np.float32),) * 2}, "keys have a wrong shape"),
        ({"sinks": (None, np.zeros(3, np.float32))}, "sinks have a wrong shape"),
        ({"edit": AttentionEdit(12, 0, "a", np.zeros(12, np.float32))}, "edit.position must be a token's"),
        ({"edit": AttentionEdit(2, 0, "a", np.zeros(9, np.float32))}, "edit.output_change has a wrong shape"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        attention(**changes)


def test_a_record_is_frozen_all_the_way_down():
    record = attention()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.num_heads = 3
    with pytest.raises(ValueError, match="read-only"):
        record.queries[0][0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        record.token_ids[0] = 1


def test_nbytes_counts_every_array():
    record = attention(edit=AttentionEdit(2, 0, "a", np.zeros(12, np.float32)))
    assert record.nbytes == 2 * 12 * 8 + 2 * (4 * 12 * 8 * 4 + 2 * 12 * 8 * 4) + 4 * 4 + 12 * 4


def test_one_head_of_512_tokens_takes_a_few_milliseconds():
    random = np.random.default_rng(0)
    wide = {
        "queries": (random.normal(size=(4, 512, 64)).astype(np.float32),) * 2,
        "keys": (random.normal(size=(2, 512, 64)).astype(np.float32),) * 2,
    }
    record = attention(512, **wide)
    record.weights(0, 0)
    times = []
    for _ in range(5):
        start = time.process_time()
        record.weights(0, 0)
        times.append(time.process_time() - start)
    assert min(times) < 0.1  # a machine twenty times slower than the one this was written on
