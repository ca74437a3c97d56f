"""`explore`: where knobs go, what a refusal leaves, and what a newer setting does to an older one."""

import threading
import time

import ipywidgets
import numpy as np
import pytest

from llmwidgets.lab.explore import explore
from llmwidgets.widgets.attention_heatmap import AttentionHeatmap
from llmwidgets.widgets.attention_source import GivenAttention, given_attention


def made(tokens: int = 4, seed: int = 0) -> GivenAttention:
    weights = np.tril(np.random.default_rng(seed).random((2, 3, tokens, tokens)).astype(np.float32))
    return given_attention(weights / weights.sum(-1, keepdims=True), [f"t{i}" for i in range(tokens)])


class Calls(list):
    """A function for explore that remembers how it was called."""

    def __call__(self, tokens: int = 4, word: str = "a") -> GivenAttention:
        self.append((tokens, word))
        if tokens == 7:
            raise ValueError("tokens=7 is not allowed; allowed are all others")
        return made(tokens)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_a_knob_in_the_signature_calls_the_function(calls):
    x = explore(calls, AttentionHeatmap, tokens=(3, 9))
    x.update(tokens=5)
    assert calls == [(6, "a"), (5, "a")]
    assert len(x.record.tokens) == 5
    assert x.widget.record is x.record


def test_a_knob_that_is_a_trait_is_linked_both_ways_and_calls_nothing(calls):
    x = explore(calls, AttentionHeatmap, tokens=(3, 9), layer=(0, 1), head=(0, 2))
    x.update(layer=1, head=2)
    assert (x.widget.layer, x.widget.head) == (1, 2)
    x.widget.layer = 0
    assert x.knobs["layer"].value == 0
    assert len(calls) == 1


def test_an_unknown_knob_is_refused_by_name(calls):
    with pytest.raises(ValueError, match=r"colour is neither an argument of .* nor a trait"):
        explore(calls, AttentionHeatmap, colour=(0, 1))


def test_a_refusal_keeps_the_last_good_picture_and_says_why(calls):
    x = explore(calls, AttentionHeatmap, tokens=(3, 9))
    before, shown = x.record, x.widget._map
    with pytest.raises(ValueError, match="tokens=7 is not allowed"):
        x.update(tokens=7)
    assert x.record is before
    assert x.widget._map is shown
    assert (x.status.state, x.status.message) == ("error", "tokens=7 is not allowed; allowed are all others")
    x.update(tokens=8)
    assert (x.status.state, x.status.message) == ("idle", "")


def test_going_back_to_the_good_setting_clears_the_line_without_a_call(calls):
    x = explore(calls, AttentionHeatmap, tokens=(3, 9))
    with pytest.raises(ValueError, match="not allowed"):
        x.update(tokens=7)
    x.update(tokens=6)
    assert x.status.state == "idle"
    assert calls == [(6, "a"), (7, "a")]


def test_a_view_that_refuses_keeps_its_picture(calls):
    x = explore(calls, AttentionHeatmap, layer=(0, 5))
    shown = x.widget._map
    with pytest.raises(ValueError, match="layer=5 is not in the record; allowed: 0, 1"):
        x.update(layer=5)
    assert x.widget._map is shown
    assert x.status.state == "error"


def test_out_of_the_slider_is_refused(calls):
    x = explore(calls, AttentionHeatmap, tokens=(3, 9))
    with pytest.raises(ValueError, match="tokens=99 is out of the knob's range"):
        x.update(tokens=99)


@pytest.mark.parametrize("bad", [(5, 2), object(), ()])
def test_an_abbreviation_that_makes_no_knob_is_refused(calls, bad):
    with pytest.raises(ValueError, match="tokens="):
        explore(calls, AttentionHeatmap, tokens=bad)


def test_fixed_stays_and_an_ipywidget_is_taken_as_it_is(calls):
    word = ipywidgets.Dropdown(options=["a", "b"])
    x = explore(calls, AttentionHeatmap, tokens=ipywidgets.fixed(5), word=word)
    assert x.knobs["word"] is word
    x.update(word="b")
    assert calls == [(5, "a"), (5, "b")]


def test_a_text_box_acts_when_the_typing_ends(calls):
    x = explore(calls, AttentionHeatmap, word="hello")
    assert x.knobs["word"].continuous_update is False


def test_a_newer_setting_replaces_a_queued_one():
    started, go = threading.Event(), threading.Event()
    seen = []

    def slow(tokens: int) -> GivenAttention:
        seen.append(tokens)
        if len(seen) == 2:
            started.set()
            assert go.wait(10)
        return made(tokens)

    x = explore(slow, AttentionHeatmap, tokens=(3, 40))
    slider = x.knobs["tokens"]
    slider.value = 4
    assert started.wait(10)
    for value in (5, 6, 7, 8):
        slider.value = value
    go.set()
    assert x._runner.wait(10)
    assert seen == [21, 4, 8]
    assert len(x.record.tokens) == 8


def test_work_that_takes_long_is_shown_as_work():
    go, busy = threading.Event(), threading.Event()

    def slow(tokens: int) -> GivenAttention:
        if tokens == 4:
            assert go.wait(10)
        return made(tokens)

    x = explore(slow, AttentionHeatmap, tokens=(3, 9))
    x.status.observe(lambda change: busy.set() if change["new"] == "busy" else None, "state")
    x.knobs["tokens"].value = 4
    assert busy.wait(10)
    go.set()
    assert x._runner.wait(10)
    assert x.status.state == "idle"


def test_the_same_widget_stays(calls):
    x = explore(calls, AttentionHeatmap, tokens=(3, 9))
    widget = x.widget
    x.update(tokens=4)
    assert x.widget is widget
    assert len(widget._facts["tokens"]) == 4


def test_listed_views_share_layer_and_head(calls):
    x = explore(calls, [AttentionHeatmap, AttentionHeatmap], layer=(0, 1))
    x.update(layer=1)
    assert [widget.layer for widget in x.widgets] == [1, 1]
    x.widgets[1].head = 2
    assert x.widgets[0].head == 2


def test_a_record_without_a_view_needs_one_named(calls):
    with pytest.raises(ValueError, match="GivenAttention has no view of its own"):
        explore(calls, tokens=(3, 9))


def test_no_thread_is_left_behind(calls):
    before = threading.active_count()
    x = explore(calls, AttentionHeatmap, tokens=(3, 9))
    for tokens in (4, 5, 6):
        x.update(tokens=tokens)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)  # a cancelled timer takes a moment to end
    assert threading.active_count() == before


def test_the_text_twin_names_settings_and_picture(calls):
    text = explore(calls, AttentionHeatmap, tokens=(3, 9)).to_text()
    assert text.startswith("explore(tokens=6)\nAttention weights of layer 0, head 0")


def test_a_view_shows_what_it_can_foresee_while_the_function_still_runs():
    from llmwidgets.widgets.next_token import NextToken
    from llmwidgets.widgets.next_token_source import DrawnSteps, given_steps

    started, go = threading.Event(), threading.Event()
    rows = np.random.default_rng(0).normal(0, 3, (3, 50))

    def generate(temperature: float) -> DrawnSteps:
        if temperature == 2.0:
            started.set()
            assert go.wait(10)
        return given_steps(rows, [f"t{i}" for i in range(50)], None, ())

    x = explore(generate, NextToken, temperature=(0.0, 2.0))
    record = x.record
    x.knobs["temperature"].value = 2.0
    assert started.wait(10)
    assert x.widget._what_if["stages"] == ["model", "temperature"]
    assert x.widget.record is record
    go.set()
    assert x._runner.wait(10)
    assert x.widget.record is not record


def test_what_is_picked_in_the_view_goes_to_the_function():
    from llmwidgets.widgets.next_token import NextToken
    from llmwidgets.widgets.next_token_source import DrawnSteps, given_steps

    seen = []

    def generate(word: str = "a", output_prefix: tuple[int, ...] = ()) -> DrawnSteps:
        seen.append((word, list(output_prefix)))
        return given_steps(np.random.default_rng(len(seen)).random((3, 5)), list("abcde"), None, ())

    x = explore(generate, NextToken, word="a")
    x.widget.output_prefix = [4, 2]
    assert x._runner.wait(10)
    assert seen == [("a", []), ("a", [4, 2])]
    x.update(word="b")
    assert seen[-1] == ("b", [4, 2])
