"""Each stage against Transformers' own, the order against both engines', the draw against the law."""

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

from llmwidgets.engine import sampling
from llmwidgets.engine.sampling import Sampler, draw
from llmwidgets.records.sampling_params import SamplingParams


def logits(seed=0, size=50):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def kept(values):
    return set(torch.isfinite(values).nonzero()[:, 0].tolist())


def after_stages(values, **params):
    for stage in sampling.stages(SamplingParams(**params)):
        values = stage(values)
    return values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: sampling.keep_top_k(x, 7), TopKLogitsWarper(7)),
        (lambda x: sampling.keep_top_p(x, 0.8), TopPLogitsWarper(0.8)),
        (lambda x: sampling.keep_top_p(x, 0.01), TopPLogitsWarper(0.01)),
        (lambda x: sampling.keep_min_p(x, 0.1), MinPLogitsWarper(0.1)),
    ],
)
def test_each_stage_keeps_what_transformers_keeps(ours, theirs, seed):
    x = logits(seed)
    assert torch.equal(ours(x), theirs(None, x[None])[0])


def test_disabled_stages_change_nothing():
    x = logits()
    assert torch.equal(after_stages(x, temperature=1.0), x)
    assert torch.equal(sampling.keep_top_k(x, 1000), x)


def test_the_most_probable_token_always_stays():
    x = logits()
    for keep in (sampling.keep_top_p(x, 1e-20), sampling.keep_min_p(x, 1.0), sampling.keep_top_k(x, 1)):
        assert kept(keep) == {int(x.argmax())}


def test_top_k_keeps_ties():
    assert kept(sampling.keep_top_k(torch.tensor([1.0, 3.0, 2.0, 2.0]), 2)) == {1, 2, 3}


def test_penalties():
    x = logits()
    params = SamplingParams(repetition_penalty=1.3)
    ours = sampling.penalize(x, [3, 4], [5, 5], params)
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[3, 4, 5, 5]]), x[None].clone())[0]
    assert torch.equal(ours, theirs)
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    expected = x.clone()
    expected[5] -= 0.5 + 2 * 0.25  # the prompt does not count
    assert torch.allclose(sampling.penalize(x, [3, 4], [5, 5], params), expected)


def test_the_two_orders_keep_different_tokens():
    x = torch.log(torch.tensor([0.40, 0.30, 0.17, 0.13]))
    arguments = {"temperature": 1.0, "top_p": 0.75, "min_p": 0.41}
    # min-p first: 0.13 goes, so the rest is 0.46, 0.34, 0.20 and two of them reach 0.75
    assert kept(after_stages(x, **arguments)) == {0, 1}
    assert kept(after_stages(x, **arguments, sampler_order="transformers")) == {0, 1, 2}
    theirs = x[None]
    for warper in (TemperatureLogitsWarper(1.0), TopPLogitsWarper(0.75), MinPLogitsWarper(0.41)):
        theirs = warper(None, theirs)
    assert kept(theirs[0]) == {0, 1, 2}


def test_temperature_comes_before_min_p():
    x = torch.log(torch.tensor([0.6, 0.3, 0.1]))
    assert kept(after_stages(x, temperature=1.0, min_p=0.3)) == {0, 1}
    assert kept(after_stages(x, temperature=5.0, min_p=0.3)) == {0, 1, 2}


def test_draw_inverts_the_cumulative_distribution_from_the_most_probable_down():
    p = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0], dtype=torch.float64)
    assert [draw(p, u) for u in (0.0, 0.2499, 0.25, 0.7499, 0.75, np.nextafter(1, 0))] == [3, 3, 3, 1, 4, 4]


def test_frequencies_follow_the_law():
    x = logits(1, size=6)
    sampler = Sampler(SamplingParams(temperature=0.9, top_k=4, seed=1))
    counts = np.bincount([sampler(x, [], []).token_id for _ in range(4000)], minlength=6)
    law = torch.softmax(after_stages(x, temperature=0.9, top_k=4), -1).numpy()
    assert (counts[law == 0] == 0).all()
    held = law > 0
    chi_square = ((counts[held] - 4000 * law[held]) ** 2 / (4000 * law[held])).sum()
    assert chi_square < 16.3  # 99.9% with 3 degrees of freedom


def test_the_recorded_number_repeats_the_draw():
    x = logits(2)
    sampler = Sampler(SamplingParams(temperature=1.5, seed=7))
    for _ in range(20):
        choice = sampler(x, [], [])
        assert draw(torch.softmax(x / 1.5, -1), choice.uniform) == choice.token_id
        assert choice.logprob == pytest.approx(float(torch.log_softmax(x, -1)[choice.token_id]))


def test_the_stages_of_a_choice_are_the_law_it_was_drawn_from():
    x = logits(3)
    params = SamplingParams(temperature=0.7, top_p=0.9, min_p=0.05, repetition_penalty=1.2, seed=3)
    choice = Sampler(params)(x, [1, 2], [4])
    assert [stage.name for stage in choice.stages] == ["model", "penalties", "temperature", "min_p", "top_p"]
    assert torch.equal(choice.stages[0].logits, x)
    theirs = RepetitionPenaltyLogitsProcessor(1.2)(torch.tensor([[1, 2, 4]]), x[None].clone())
    for warper in (TemperatureLogitsWarper(0.7), MinPLogitsWarper(0.05), TopPLogitsWarper(0.9)):
        theirs = warper(None, theirs)
    law = torch.softmax(theirs[0], -1)
    torch.testing.assert_close(torch.softmax(choice.stages[-1].logits, -1), law, rtol=1e-12, atol=0)
    assert law[choice.token_id] > 0


def test_a_swapped_order_fails_the_test_of_frequencies():
    """The chi-square of the right law rejects a sampler whose min-p comes last."""
    x = torch.log(torch.tensor([0.40, 0.30, 0.17, 0.13], dtype=torch.float64))
    arguments = {"temperature": 1.0, "top_p": 0.75, "min_p": 0.41}
    law = torch.softmax(after_stages(x, **arguments), -1).numpy()
    for order, passes in (("vllm", True), ("transformers", False)):
        sampler = Sampler(SamplingParams(**arguments, seed=5, sampler_order=order))
        counts = np.bincount([sampler(x, [], []).token_id for _ in range(2000)], minlength=4)
        held = law > 0
        chi_square = ((counts[held] - 2000 * law[held]) ** 2 / (2000 * law[held])).sum()
        assert bool((counts[~held] == 0).all() and chi_square < 10.8) is passes  # 99.9%, 1 degree


def test_a_forced_token_leaves_the_later_draws_as_they_are():
    x = logits(4)
    free, forced = (Sampler(SamplingParams(temperature=1.0, seed=2)) for _ in range(2))
    first = free(x, [], [])
    assert forced(x, [], [], forced=9).token_id == 9
    assert first.uniform is not None
    assert free(x, [], []).uniform == forced(x, [], []).uniform
