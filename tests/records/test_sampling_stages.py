"""Each sampling stage against Transformers' own, the order against both engines', the draw against a line."""

import numpy as np
import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmwidgets.records import sampling_stages as sampling
from llmwidgets.records.sampling_params import SamplingParams


def logits(seed=0, size=50):
    return np.random.default_rng(seed).normal(0, 3, size)


def kept(values):
    return set(np.flatnonzero(np.isfinite(values)).tolist())


def theirs(values, *processors, seen=()):
    """Return what Transformers' processors make of logits, one after the other."""
    scores = torch.from_numpy(np.array(values))[None]
    for processor in processors:
        scores = processor(torch.tensor([list(seen)], dtype=torch.long), scores)
    return scores[0].numpy()


def after_stages(values, **params):
    return sampling.run_stages(values, SamplingParams(**params), [], [])[-1].logits


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("ours", "processor"),
    [
        (lambda x: sampling.keep_top_k(x, 7), TopKLogitsWarper(7)),
        (lambda x: sampling.keep_top_p(x, 0.8), TopPLogitsWarper(0.8)),
        (lambda x: sampling.keep_top_p(x, 0.01), TopPLogitsWarper(0.01)),
        (lambda x: sampling.keep_min_p(x, 0.1), MinPLogitsWarper(0.1)),
    ],
)
def test_each_stage_keeps_what_transformers_keeps(ours, processor, seed):
    x = logits(seed)
    np.testing.assert_array_equal(ours(x), theirs(x, processor))


def test_disabled_stages_change_nothing():
    x = logits()
    assert [stage.name for stage in sampling.run_stages(x, SamplingParams(temperature=1.0), [1], [2])] == [
        "model"
    ]
    assert after_stages(x, temperature=1.0) is x
    assert sampling.keep_top_k(x, 1000) is x
    assert sampling.keep_top_p(x, 1.0) is x


def test_a_stage_leaves_the_logits_before_it_as_they_were():
    x = logits()
    before = x.copy()
    params = SamplingParams(
        temperature=0.7,
        top_k=9,
        top_p=0.9,
        min_p=0.05,
        repetition_penalty=1.2,
        presence_penalty=1.0,
        frequency_penalty=1.0,
    )
    sampling.run_stages(x, params, [1, 2], [4, 4])
    np.testing.assert_array_equal(x, before)


def test_the_most_probable_token_always_stays():
    x = logits()
    for keep in (sampling.keep_top_p(x, 1e-20), sampling.keep_min_p(x, 1.0), sampling.keep_top_k(x, 1)):
        assert kept(keep) == {int(x.argmax())}


def test_greedy_keeps_the_first_of_equals():
    assert kept(after_stages(np.array([1.0, 3.0, 3.0]), temperature=0.0)) == {1}


def test_top_k_keeps_ties():
    assert kept(sampling.keep_top_k(np.array([1.0, 3.0, 2.0, 2.0]), 2)) == {1, 2, 3}


def test_penalties():
    x = logits()
    params = SamplingParams(repetition_penalty=1.3)
    ours = sampling.penalize(x, [3, 4], [5, 5], params)
    np.testing.assert_array_equal(ours, theirs(x, RepetitionPenaltyLogitsProcessor(1.3), seen=[3, 4, 5, 5]))
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    expected = x.copy()
    expected[5] -= 0.5 + 2 * 0.25  # the prompt does not count
    np.testing.assert_allclose(sampling.penalize(x, [3, 4], [5, 5], params), expected)
    np.testing.assert_array_equal(sampling.penalize(x, [3, 4], [], params), x)


def test_the_two_orders_keep_different_tokens():
    x = np.log([0.40, 0.30, 0.17, 0.13])
    arguments = {"temperature": 1.0, "top_p": 0.75, "min_p": 0.41}
    # min-p first: 0.13 goes, so the rest is 0.46, 0.34, 0.20 and two of them reach 0.75
    assert kept(after_stages(x, **arguments)) == {0, 1}
    assert kept(after_stages(x, **arguments, sampler_order="transformers")) == {0, 1, 2}
    warpers = (TemperatureLogitsWarper(1.0), TopPLogitsWarper(0.75), MinPLogitsWarper(0.41))
    assert kept(theirs(x, *warpers)) == {0, 1, 2}


def test_temperature_comes_before_min_p():
    x = np.log([0.6, 0.3, 0.1])
    assert kept(after_stages(x, temperature=1.0, min_p=0.3)) == {0, 1}
    assert kept(after_stages(x, temperature=5.0, min_p=0.3)) == {0, 1, 2}


def test_draw_inverts_the_cumulative_distribution_from_the_most_probable_down():
    p = np.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    numbers = (0.0, 0.2499, 0.25, 0.7499, 0.75, np.nextafter(1, 0))
    assert [sampling.draw(p, u) for u in numbers] == [3, 3, 3, 1, 4, 4]


def test_the_drawn_number_lies_in_the_part_of_the_drawn_token():
    p = sampling.softmax(sampling.keep_top_k(logits(3), 20))
    starts = sampling.draw_starts(p)
    for u in np.random.default_rng(0).random(200):
        token = sampling.draw(p, u)
        assert starts[token] <= u < starts[token] + p[token] + 1e-15
    assert starts[p.argmax()] == 0
    assert starts.max() == pytest.approx(1)
