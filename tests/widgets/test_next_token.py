"""`NextToken`: what travels, what is refused and said, and a step under settings other than the engine's."""

import dataclasses

import numpy as np
import pytest

from llmwidgets.widgets.next_token import NextToken
from llmwidgets.widgets.next_token_source import steps_of

TOKENS = [f"t{i}" for i in range(60)]
PROMPT = [1, 5, 9, 200, 33]
SETTINGS = [
    {"temperature": 0.0},
    {"temperature": 1.7},
    {"temperature": 0.6, "seed": 9},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
    {"temperature": 1.5, "top_p": 0.8, "min_p": 0.05, "sampler_order": "transformers"},
    {"temperature": 1.0, "repetition_penalty": 1.5, "presence_penalty": 1.0, "frequency_penalty": 0.5},
    {"temperature": 0.0, "repetition_penalty": 2.0},
]


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (4, 60))


@pytest.fixture(scope="module")
def generation(engine):
    return engine.generate(PROMPT, max_tokens=8, temperature=0.9, top_p=0.9, seed=1, ignore_eos=True)


def test_candidates_and_probabilities_are_the_softmax_sorted(logits):
    widget = NextToken.from_arrays(logits, TOKENS)
    exact = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wire = widget._steps
    for step in range(4):
        ids = wire["token_ids"][step]
        assert list(ids) == list(np.argsort(-exact[step], kind="stable")[:40])
        np.testing.assert_allclose(wire["probabilities"][step, 0], exact[step][ids], rtol=1e-6)
        before = np.cumsum(exact[step][ids]) - exact[step][ids]
        np.testing.assert_allclose(wire["starts"][step], before, atol=1e-6)
    np.testing.assert_allclose(np.array(wire["entropies"])[:, 0], -(exact * np.log2(exact)).sum(1), rtol=1e-9)


def test_a_chosen_token_outside_the_candidates_is_shown_too(logits):
    least = int(logits[2].argmin())
    widget = NextToken.from_arrays(logits, TOKENS, chosen=[0, 1, least, 3])
    index = widget._steps["chosen"][2]
    assert widget._steps["token_ids"][2, index] == least


def test_the_number_lies_in_the_part_of_the_token_that_it_drew(generation):
    wire = NextToken(generation)._steps
    for step, uniform in enumerate(wire["uniforms"]):
        place = wire["chosen"][step]
        start = wire["starts"][step, place]
        assert start - 1e-6 <= uniform <= start + wire["probabilities"][step, -1, place] + 1e-6


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_step_under_other_settings_is_what_the_engine_makes_of_them(engine, generation, settings):
    settings = {"seed": 1, "top_p": 1.0, **settings}
    for step in (0, 1, 5):
        widget = NextToken(generation, step=step, sampling=settings)
        before = generation.token_ids[:step]
        engines = engine.generate(
            PROMPT, max_tokens=step + 1, output_prefix=before, ignore_eos=True, **settings
        ).steps[step]
        what_if = widget._what_if
        assert what_if["step"] == step
        assert what_if["stages"] == list(engines.distribution.stages)
        assert what_if["kept"] == [list(engines.distribution.num_kept)]
        assert what_if["token_ids"][0, what_if["chosen"][0]] == engines.token_id
        assert what_if["uniforms"] == [engines.uniform]
        np.testing.assert_array_equal(what_if["token_ids"][0], engines.distribution.token_ids)
        # The engine computed these logits again, in one pass over more tokens.
        np.testing.assert_allclose(what_if["probabilities"][0], engines.distribution.probabilities, atol=1e-5)


def test_the_settings_of_the_record_are_no_other_settings(generation):
    assert NextToken(generation, sampling={"temperature": 0.9, "top_p": 0.9, "seed": 1})._what_if == {}
    assert NextToken(generation)._what_if == {}


def test_other_settings_follow_the_step_and_the_record(engine, generation):
    widget = NextToken(generation, sampling={"temperature": 1.7})
    widget.step = 3
    assert widget._what_if["step"] == 3
    newer = engine.generate(PROMPT, max_tokens=8, temperature=1.7, top_p=0.9, seed=1, ignore_eos=True)
    other = engine.generate(PROMPT, max_tokens=8, temperature=1.2, top_p=0.9, seed=1, ignore_eos=True)
    widget.record = other  # made for a setting of the drag that is over: the knob stands elsewhere
    assert widget._what_if["step"] == 3
    widget.record = newer
    assert widget._what_if == {}


def test_a_token_picked_by_hand_stays_under_other_settings(engine):
    picked = engine.generate(PROMPT, max_tokens=3, temperature=1.0, output_prefix=[7, 8], ignore_eos=True)
    widget = NextToken(picked, step=1, sampling={"temperature": 0.5})
    assert widget._what_if["token_ids"][0, widget._what_if["chosen"][0]] == 8
    assert widget._what_if["uniforms"] == [None]


def test_without_logits_the_picture_waits_for_the_engine(generation):
    drawn = steps_of(generation)
    bare = [dataclasses.replace(one, logits=None) for one in drawn.distributions]
    widget = NextToken(dataclasses.replace(drawn, distributions=tuple(bare)), sampling={"temperature": 2.0})
    assert widget._what_if == {}


def test_a_token_without_a_known_text_is_named_by_its_id(engine):
    short = engine.generate(PROMPT, max_tokens=1)
    what_if = NextToken(short, sampling={"temperature": 1000.0, "seed": 2})._what_if
    token_id = what_if["token_ids"][0, what_if["chosen"][0]]
    assert token_id not in short.steps[0].distribution.token_ids
    assert what_if["texts"][0][what_if["chosen"][0]] == f"#{token_id}"


def test_given_logits_follow_settings_too(logits):
    widget = NextToken.from_arrays(logits, TOKENS, step=2, sampling={"temperature": 2.0})
    exact = np.exp(logits[2] / 2)
    exact /= exact.sum()
    ids = widget._what_if["token_ids"][0]
    np.testing.assert_allclose(widget._what_if["probabilities"][0, -1], exact[ids], rtol=1e-6)


def test_what_a_knob_foresees_is_shown_and_a_bad_value_is_left_to_the_function(generation):
    widget = NextToken(generation)
    widget.foresee({"prompt": "a", "temperature": 1.3, "max_tokens": 4})
    assert widget.sampling == {"temperature": 1.3}
    assert widget._what_if["stages"] == ["model", "temperature", "top_p"]
    widget.foresee({"temperature": -1.0})
    assert widget.sampling == {"temperature": 1.3}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"logits": np.full((2, 60), np.nan)}, "logits must be numbers"),
        ({"logits": np.full((2, 60), -np.inf)}, "at least one number in each row"),
        ({"logits": np.zeros((2, 59))}, "tokens has 60 entries"),
        ({"chosen": [0, 1, 2]}, "chosen must be 4 token ids"),
        ({"chosen": [0, 1, 2, 60]}, "from 0 to 59"),
        ({"step": 4}, "step=4 is not in the record; allowed: 0 to 3"),
        ({"sampling": {"heat": 1}}, "sampling holds 'heat'; allowed are temperature, top_k"),
        ({"sampling": {"top_p": 0}}, "top_p=0 is not allowed"),
    ],
)
def test_bad_input_is_refused_by_name(logits, bad, message):
    with pytest.raises(ValueError, match=message):
        NextToken.from_arrays(**{"logits": logits, "tokens": TOKENS, **bad})


def test_the_step_stays_inside_a_shorter_record(logits):
    widget = NextToken.from_arrays(logits, TOKENS, step=3)
    widget.record = NextToken.from_arrays(logits[:2], TOKENS).record
    assert widget.step == 1


def test_the_text_twin_names_the_step_its_candidates_and_the_draw(logits, generation):
    text = NextToken.from_arrays(logits, TOKENS, step=1).to_text()
    assert text.startswith("Step 2 of 4: stages model, 60 of 60 tokens left\n")
    assert repr(TOKENS[int(logits[1].argmax())]) in text.splitlines()[1]
    text = NextToken(generation, step=2).to_text()
    assert f"u = {generation.steps[2].uniform:.3f}" in text
    assert f" → {generation.tokens[2]!r}" in text


def test_the_page_holds_hostile_tokens_only_as_escaped_data(logits):
    page = NextToken.from_arrays(logits, ["<img src=x onerror=alert(1)>", *TOKENS[1:]]).to_html()
    assert "<img" not in page
