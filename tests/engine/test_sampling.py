"""The sampler: the law that it draws from is Transformers', its frequencies follow it, its draws repeat."""

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

from llmwidgets.engine.sampling import Sampler
from llmwidgets.records.sampling_params import SamplingParams
from llmwidgets.records.sampling_stages import draw, softmax

PROMPT, OUTPUT = [1, 2], [4, 4]
DRAWS = 4000
CASES = {
    "temperature": {"temperature": 0.9},
    "all stages": {"temperature": 1.4, "min_p": 0.1, "top_k": 12, "top_p": 0.85},
    "min-p last": {"temperature": 1.4, "min_p": 0.1, "top_p": 0.85, "sampler_order": "transformers"},
    "repetition": {"temperature": 1.2, "repetition_penalty": 1.6, "top_k": 8},
    "counts": {"temperature": 1.2, "presence_penalty": 1.5, "frequency_penalty": 1.0, "top_p": 0.95},
}


def logits(seed=0, size=30):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def law(x, params, order):
    """Return the probabilities by Transformers' processors; it has none that count, so these are ours."""
    counts = torch.bincount(torch.tensor(OUTPUT), minlength=len(x))
    x = x - params.presence_penalty * (counts > 0) - params.frequency_penalty * counts
    warpers = {
        "temperature": TemperatureLogitsWarper(params.temperature),
        "min_p": MinPLogitsWarper(params.min_p),
        "top_k": TopKLogitsWarper(params.top_k or len(x)),
        "top_p": TopPLogitsWarper(params.top_p),
    }
    scores = RepetitionPenaltyLogitsProcessor(params.repetition_penalty)(
        torch.tensor([[*PROMPT, *OUTPUT]]), x[None].clone()
    )
    for name in order:
        scores = warpers[name](None, scores)
    return torch.softmax(scores[0], -1).numpy()


def follows(counts, expected):
    """Return whether counts pass a chi-square test at 99.9% (quantile by Wilson and Hilferty 1931)."""
    held = expected > 0
    if counts[~held].any():
        return False
    n, degrees = counts.sum(), int(held.sum()) - 1
    chi_square = ((counts[held] - n * expected[held]) ** 2 / (n * expected[held])).sum()
    return chi_square < degrees * (1 - 2 / (9 * degrees) + 3.0902 * np.sqrt(2 / (9 * degrees))) ** 3


def drawn(x, params):
    sampler = Sampler(params)
    return np.bincount([sampler(x, PROMPT, OUTPUT).token_id for _ in range(DRAWS)], minlength=len(x))


VLLM = ("temperature", "min_p", "top_k", "top_p")
LAST = ("temperature", "top_k", "top_p", "min_p")


@pytest.mark.parametrize("case", CASES)
def test_frequencies_follow_the_law(case):
    x, params = logits(1), SamplingParams(**CASES[case], seed=1)
    order = VLLM if params.sampler_order == "vllm" else LAST
    assert follows(drawn(x, params), law(x, params, order))


@pytest.mark.parametrize("order", [LAST, ("min_p", "temperature", "top_k", "top_p")])
def test_a_sampler_with_stages_swapped_fails(order):
    """The chi-square of the documented order rejects draws from any other."""
    x, params = logits(1), SamplingParams(**CASES["all stages"], seed=1)
    probabilities = law(x, params, order)
    counts = np.bincount(
        [draw(probabilities, u) for u in np.random.default_rng(1).random(DRAWS)], minlength=len(x)
    )
    assert follows(counts, probabilities)
    assert not follows(counts, law(x, params, VLLM))
    assert follows(drawn(x, params), law(x, params, VLLM))


def test_the_recorded_number_repeats_the_draw():
    x = logits(2)
    sampler = Sampler(SamplingParams(temperature=1.5, seed=7))
    for _ in range(20):
        choice = sampler(x, [], [])
        assert draw(softmax(x.numpy() / 1.5), choice.uniform) == choice.token_id
        assert choice.logprob == pytest.approx(float(torch.log_softmax(x, -1)[choice.token_id]))


def test_the_stages_of_a_choice_are_the_law_it_was_drawn_from():
    x = logits(3)
    params = SamplingParams(temperature=0.7, top_p=0.9, min_p=0.05, repetition_penalty=1.2, seed=3)
    choice = Sampler(params)(x, PROMPT, OUTPUT)
    assert [stage.name for stage in choice.stages] == ["model", "penalties", "temperature", "min_p", "top_p"]
    np.testing.assert_array_equal(choice.stages[0].logits, x.numpy())
    expected = law(x, params, VLLM)
    np.testing.assert_allclose(softmax(choice.stages[-1].logits), expected, rtol=1e-12)
    assert expected[choice.token_id] > 0


def test_a_forced_token_leaves_the_later_draws_as_they_are():
    x = logits(4)
    free, forced = (Sampler(SamplingParams(temperature=1.0, seed=2)) for _ in range(2))
    first = free(x, [], [])
    assert forced(x, [], [], forced=9).token_id == 9
    assert first.uniform is not None
    assert free(x, [], []).uniform == forced(x, [], []).uniform
