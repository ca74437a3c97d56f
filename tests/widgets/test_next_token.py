"""`NextToken` over a caller's own logits: what travels, what is refused, what it says."""

import numpy as np
import pytest

from llmwidgets.widgets.next_token import NextToken

TOKENS = [f"t{i}" for i in range(60)]


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (4, 60))


def test_candidates_and_probabilities_are_the_softmax_sorted(logits):
    widget = NextToken.from_arrays(logits, TOKENS)
    exact = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wire = widget._steps
    for step in range(4):
        ids = wire["token_ids"][step]
        assert list(ids) == list(np.argsort(-exact[step], kind="stable")[:40])
        np.testing.assert_allclose(wire["probabilities"][step, 0], exact[step][ids], rtol=1e-6)
    np.testing.assert_allclose(wire["entropies"], -(exact * np.log2(exact)).sum(1), rtol=1e-9)


def test_a_chosen_token_outside_the_candidates_is_shown_too(logits):
    least = int(logits[2].argmin())
    widget = NextToken.from_arrays(logits, TOKENS, chosen=[0, 1, least, 3])
    index = widget._steps["chosen"][2]
    assert widget._steps["token_ids"][2, index] == least


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"logits": np.full((2, 60), np.nan)}, "logits must be numbers"),
        ({"logits": np.full((2, 60), -np.inf)}, "at least one number in each row"),
        ({"logits": np.zeros((2, 59))}, "tokens has 60 entries"),
        ({"chosen": [0, 1, 2]}, "chosen must be 4 token ids"),
        ({"chosen": [0, 1, 2, 60]}, "from 0 to 59"),
        ({"step": 4}, "step=4 is not in the record; allowed: 0 to 3"),
    ],
)
def test_bad_input_is_refused_by_name(logits, bad, message):
    with pytest.raises(ValueError, match=message):
        NextToken.from_arrays(**{"logits": logits, "tokens": TOKENS, **bad})


def test_the_step_stays_inside_a_shorter_record(logits):
    widget = NextToken.from_arrays(logits, TOKENS, step=3)
    widget.record = NextToken.from_arrays(logits[:2], TOKENS).record
    assert widget.step == 1


def test_the_text_twin_names_the_step_and_its_candidates(logits):
    text = NextToken.from_arrays(logits, TOKENS, step=1).to_text()
    assert text.startswith("Step 2 of 4")
    assert repr(TOKENS[int(logits[1].argmax())]) in text.splitlines()[1]


def test_the_page_holds_hostile_tokens_only_as_escaped_data(logits):
    page = NextToken.from_arrays(logits, ["<img src=x onerror=alert(1)>", *TOKENS[1:]]).to_html()
    assert "<img" not in page
