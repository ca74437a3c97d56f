"""`Engine.perplexity` against the loss that Transformers itself computes."""

import math

import pytest
import torch

from llmwidgets.engine.quantization.progress import Stopped
from tests.engine.quantization.conftest import TOKENS


def by_transformers(model, windows):
    """Return the mean loss of all tokens but each window's first."""
    total, count = 0.0, 0
    with torch.inference_mode():
        for window in windows:
            ids = torch.tensor([window])
            total += float(model(ids, labels=ids).loss) * (len(window) - 1)
            count += len(window) - 1
    return total / count, count


def test_the_loss_is_transformers_own(engine):
    found = engine.perplexity(TOKENS, window=100)
    windows = [TOKENS[:100], TOKENS[100:200], TOKENS[200:]]
    loss, count = by_transformers(engine.model, windows)
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert (found.num_tokens, found.num_windows) == (count, 3)
    assert float(found) == found.value == pytest.approx(math.exp(loss), rel=1e-5)


def test_text_is_put_behind_the_begin_token(engine):
    text = "It was a dark and stormy night. " * 20
    ids = list(text.encode())
    found = engine.perplexity(text)
    windows = [[256, *ids[start : start + 255]] for start in range(0, len(ids), 255)]
    assert found.loss == pytest.approx(by_transformers(engine.model, windows)[0], rel=1e-5)
    assert found.num_tokens == len(ids)  # each is predicted once
    assert found.window == 256


def test_pieces_of_a_window_change_nothing(engine, monkeypatch):
    whole = engine.perplexity(TOKENS).loss
    monkeypatch.setattr("llmwidgets.engine.quantization.perplexity._LOGITS", 258 * 64)
    assert engine.perplexity(TOKENS).loss == pytest.approx(whole, rel=1e-6)


def test_some_windows_are_spread_over_the_text(engine):
    found = engine.perplexity(TOKENS, window=50, num_windows=2)
    loss, count = by_transformers(engine.model, [TOKENS[:50], TOKENS[250:]])
    assert (found.loss, found.num_tokens) == (pytest.approx(loss, rel=1e-5), count)
    assert engine.perplexity(TOKENS, window=50, num_windows=99).num_windows == 6


def test_codes_in_the_cache_cost_something(engine):
    exact, eight, four = (engine.perplexity(TOKENS, kv_cache_dtype=d).loss for d in ("auto", "int8", "int4"))
    assert abs(eight - exact) < abs(four - exact)
    assert eight != exact


def test_it_reports_and_stops(engine):
    told = []
    with pytest.raises(Stopped):
        engine.perplexity(TOKENS, window=50, progress=lambda share, what: told.append(what) or len(told) < 3)
    assert told == [f"perplexity: window {i} of 6" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"text": ""}, "at least 1 are needed"),
        ({"text": [5]}, "at least 2 are needed"),
        ({"text": TOKENS, "window": 1}, "allowed are 2 to max_model_len=256"),
        ({"text": TOKENS, "window": 257}, "allowed are 2 to max_model_len=256"),
        ({"text": TOKENS, "num_windows": 0}, "allowed is at least 1"),
        ({"text": [1, 300]}, "allowed are 0 to 257"),
    ],
)
def test_what_is_not_allowed_is_refused(engine, knobs, says):
    with pytest.raises(ValueError, match=says):
        engine.perplexity(**knobs)


def test_text_needs_a_tokenizer(mha_engine):
    with pytest.raises(ValueError, match="has no tokenizer"):
        mha_engine.perplexity("text")
