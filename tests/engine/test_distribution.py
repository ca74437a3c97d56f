"""What a generation says of each draw, against the model's own logits."""

import numpy as np
import pytest
import torch

import llmwidgets as lw
from llmwidgets.records.distribution import distribution_of
from llmwidgets.records.sampling_stages import StageLogits

PROMPT = [1, 5, 9, 200, 33]


def test_logits_and_probabilities_are_the_models(engine):
    g = engine.generate(PROMPT, max_tokens=6, temperature=0.8, top_k=5, seed=1, ignore_eos=True)
    ids = torch.tensor([PROMPT + list(g.token_ids)])
    with torch.inference_mode():
        plain = engine.model(ids).logits[0, len(PROMPT) - 1 : -1].double()
    for step, logits in zip(g.steps, plain, strict=True):
        d = step.distribution
        np.testing.assert_allclose(d.logits, logits.numpy(), atol=5e-5)
        law = torch.softmax(logits, -1).numpy()
        np.testing.assert_allclose(d.probabilities[0], law[d.token_ids], atol=1e-5)
        assert d.stages == ("model", "temperature", "top_k")
        assert d.num_kept == (len(law), len(law), 5)
        last = np.sort(np.exp(np.log(law) / 0.8))[::-1][:5]
        last /= last.sum()
        np.testing.assert_allclose(np.sort(d.probabilities[-1])[::-1][:5], last, atol=1e-5)
        assert d.entropy == pytest.approx(-(last * np.log2(last)).sum(), abs=1e-4)
        assert d.entropies[0] == pytest.approx(-(law * np.log2(law)).sum(), abs=1e-3)
        np.testing.assert_allclose(d.logprobs, np.log(law)[d.token_ids], atol=1e-4)
        place = list(d.token_ids).index(step.token_id)
        assert d.probabilities[-1, place] > 0


def test_one_forward_pass_a_new_token(engine):
    assert engine.generate(PROMPT, max_tokens=6, ignore_eos=True).num_forwards == 6


@pytest.mark.parametrize(("size", "kept"), [(32_768, True), (32_769, False)])
def test_logits_of_vocabularies_above_32768_are_left_out(size, kept):
    logits = np.random.default_rng(0).normal(size=size)
    made = distribution_of([StageLogits("model", logits)], 5, lambda token_ids: ("",) * len(token_ids))
    assert (made.logits is not None) is kept


def test_greedy_draws_from_one_token(engine):
    step = engine.generate(PROMPT, max_tokens=1).steps[0]
    assert step.distribution.num_kept[-1] == 1
    assert step.distribution.entropy == 0
    assert step.distribution.token_ids[0] == step.token_id


def test_the_output_begins_as_it_was_told_and_goes_on_from_there(engine):
    g = engine.generate(PROMPT, max_tokens=8, output_prefix=[7, 8], ignore_eos=True)
    assert g.token_ids[:2] == (7, 8)
    assert g.num_forced == 2
    assert g.token_ids[2:] == engine.generate([*PROMPT, 7, 8], max_tokens=6, ignore_eos=True).token_ids


BAD_PREFIXES = [([1, 2, 3], "at most max_tokens=2"), ([-1], "holds -1"), ([1.5], r"holds 1\.5")]


@pytest.mark.parametrize(("prefix", "message"), BAD_PREFIXES)
def test_a_bad_prefix_is_refused(engine, prefix, message):
    with pytest.raises(ValueError, match=message):
        engine.generate(PROMPT, max_tokens=2, output_prefix=prefix)


def test_a_generation_saves_its_distributions(engine, tmp_path):
    g = engine.generate(PROMPT, max_tokens=3, temperature=1.0, ignore_eos=True)
    g.save(tmp_path / "g")
    again = lw.load_record(tmp_path / "g")
    for one, other in zip(g.steps, again.steps, strict=True):
        assert np.array_equal(one.distribution.probabilities, other.distribution.probabilities)
        assert one.distribution.texts == other.distribution.texts
