"""`attend`: weights against eager attention, edits, what is kept."""

import numpy as np
import pytest
import torch

from llmwidgets.engine import Engine

PACKED = ["llama", "qwen3", "gpt2", "gemma2", "mistral_window", "qwen3_mixed", "gpt_oss"]
PROMPT = [(3 + 7 * i) % 256 for i in range(33)]
TEXT = "The quick brown fox"


def eager_weights(model, token_ids):
    """Return weights of all layers and heads, shape (layers, H, T, T), by the model's eager attention."""
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        found = model(torch.tensor([token_ids]), output_attentions=True).attentions
    return torch.stack(found)[:, 0].numpy()


@pytest.mark.parametrize("family", PACKED)
def test_weights_equal_eager_attention_in_every_layer_and_head(make_model, family):
    model = make_model(family)
    record = Engine(model).attend(PROMPT)
    expected = eager_weights(model, PROMPT)
    assert (record.num_layers, record.num_heads) == expected.shape[:2]
    for layer in record.layers:
        for head in record.heads:
            weights = record.weights(layer, head)
            np.testing.assert_allclose(weights, expected[layer, head], atol=2e-6)
            assert (np.triu(weights, 1) == 0).all()
            sink = record.sink_mass(layer, head)
            assert (sink is not None) == (family == "gpt_oss")
            np.testing.assert_allclose(weights.sum(1) + (0 if sink is None else sink), 1, atol=1e-6)
            window = record.sliding_window(layer)
            if window is not None:
                assert (np.tril(weights, -window) == 0).all()
    windows = {"gemma2": (8, None), "mistral_window": (8, 8), "qwen3_mixed": (None, 8), "gpt_oss": (8, None)}
    assert record.sliding_windows == windows.get(family, (None, None))


@pytest.mark.parametrize("family", PACKED)
def test_generated_tokens_give_rectangular_weights(make_model, family):
    model = make_model(family)
    engine = Engine(model)
    record = engine.attend(PROMPT, max_tokens=6)
    generated = engine.generate(PROMPT, max_tokens=6).token_ids
    assert record.token_ids.tolist() == PROMPT + list(generated[:-1])
    assert record.query_positions.tolist() == list(range(32, 38))
    expected = eager_weights(model, record.token_ids.tolist())
    for layer in record.layers:
        for head in record.heads:
            np.testing.assert_allclose(record.weights(layer, head), expected[layer, head, 32:], atol=3e-6)


def test_grouped_heads_know_their_kv_head(engine):
    record = engine.attend(TEXT)
    assert [record.kv_head(head) for head in range(4)] == [0, 0, 1, 1]
    assert record.num_kv_heads == 2


def test_only_what_is_asked_for_is_kept(engine):
    whole, part = engine.attend(TEXT), engine.attend(TEXT, layers=1, heads=[3])
    assert (part.layers, part.heads) == ((1,), (3,))
    np.testing.assert_array_equal(part.weights(1, 3), whole.weights(1, 3))
    tokens = len(TEXT) + 1
    assert (
        part.nbytes == 2 * tokens * 16 * 4 + 2 * tokens * 8
    )  # one query head, one key head, two rows of ids
    assert part.nbytes < whole.nbytes / 3
    with pytest.raises(ValueError, match=r"layer=0 is not allowed; captured are 1"):
        part.weights(0, 3)
    with pytest.raises(ValueError, match=r"head=2 is not allowed; captured are 3"):
        part.weights(1, 2)
    two = engine.attend(TEXT, heads=[3, 0])
    assert two.heads == (0, 3)
    np.testing.assert_array_equal(two.weights(0, 3), whole.weights(0, 3))


def test_tokens_are_what_a_reader_sees(engine):
    record = engine.attend("né")
    assert record.tokens == ("<|begin|>", "n", "<0xC3>", "<0xA9>")
    assert repr(record) == "Attention(4 queries × 4 keys, 2 of 2 layers, 4 of 4 heads)"


@pytest.mark.parametrize("family", PACKED)
def test_an_edit_moves_nothing_before_it_and_everything_it_should(make_model, family):
    model = make_model(family)
    record = Engine(model).attend(PROMPT, edit=(9, 200))
    edited = [*PROMPT[:9], 200, *PROMPT[10:]]
    with torch.inference_mode():
        logits = model(torch.tensor([PROMPT, edited])).logits
    expected = (logits[0] - logits[1]).abs().amax(-1).numpy()
    assert (record.edit.position, record.edit.token_id) == (9, 200)
    assert (record.edit.output_change[:9] == 0).all()
    assert record.edit.output_change[9] > 1e-3
    np.testing.assert_allclose(record.edit.output_change, expected, atol=5e-5)
    np.testing.assert_array_equal(
        record.weights(0, 1), Engine(model).attend(PROMPT).weights(0, 1)
    )  # of the prompt as given


def test_an_edit_in_pieces_and_with_generated_tokens(engine, monkeypatch):
    whole = engine.attend("a" * 150, edit=(70, "b"))
    monkeypatch.setattr("llmwidgets.engine.attend._LOGITS", 1)  # pieces of 64 positions
    pieces = engine.attend("a" * 150, edit=(70, "b"))
    assert (pieces.edit.output_change[:70] == 0).all()
    np.testing.assert_allclose(pieces.edit.output_change, whole.edit.output_change, atol=5e-5)
    np.testing.assert_allclose(pieces.weights(1, 1), whole.weights(1, 1), atol=1e-6)

    record = engine.attend("abcdef", max_tokens=4, edit=(2, "x"))
    assert record.edit.output_change.shape == record.query_positions.shape == (4,)
    assert (record.edit.output_change > 0).all()
    assert record.edit.token == "x"


def test_an_edit_beyond_the_window_changes_nothing(make_model):
    record = Engine(make_model("mistral_window", num_hidden_layers=1)).attend(PROMPT, edit=(9, 200))
    moved = np.nonzero(record.edit.output_change)[0]
    assert moved.tolist() == list(range(9, 17))  # a window of 8, in one layer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, r"layers=2 is not allowed; allowed are some of 0 to 1"),
        ({"layers": []}, r"layers=\[\] is not allowed"),
        ({"heads": [0, 4]}, r"heads=\[0, 4\] is not allowed; allowed are some of 0 to 3"),
        ({"heads": "all"}, "heads='all' is not allowed"),
        ({"max_tokens": -1}, "max_tokens=-1 is not allowed"),
        ({"max_tokens": 300}, "max_model_len=256"),
        ({"edit": 3}, r"edit=3 is not allowed; allowed is \(position, token\)"),
        ({"edit": (99, 5)}, r"edit position=\[99\] is not allowed; allowed are some of 0 to 19"),
        ({"edit": (-1, 5)}, "edit position"),
        ({"edit": (1, 999)}, "token=999 is not allowed; allowed are ids 0 to 257"),
        ({"edit": (1, "two")}, "token='two' is 3 tokens"),
        ({"edit": (1, "")}, "token='' is 0 tokens"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(engine, monkeypatch, arguments, message):
    monkeypatch.setattr(engine.forward, "run", None)
    with pytest.raises(ValueError, match=message):
        engine.attend(TEXT, **arguments)


def test_a_prompt_longer_than_the_context_is_refused(engine):
    with pytest.raises(ValueError, match="prompt has 301 tokens; together at most max_model_len=256"):
        engine.attend("x" * 300)
