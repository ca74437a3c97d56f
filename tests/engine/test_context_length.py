"""`max_model_len`: what a config states, how far past it a model reaches, and where its angles change."""

from types import SimpleNamespace

import pytest
import torch

from llmwidgets.engine import Engine
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.context_length import trained_length
from llmwidgets.engine.kv_cache import KVCache

LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "original_max_position_embeddings": 32,
}


def test_the_config_states_the_length():
    assert trained_length(SimpleNamespace(n_positions=77)) == 77
    assert trained_length(SimpleNamespace(max_position_embeddings=-1, max_seq_len=9)) == 9  # -1: no limit
    assert trained_length(SimpleNamespace()) == 2048


def test_rotary_models_reach_as_far_as_they_are_told(make_model):
    assert Engine(make_model()).max_model_len == 256
    longer = Engine(make_model(), max_model_len=1000)
    assert len(longer.generate([1] * 900, max_tokens=2).token_ids) == 2


@pytest.mark.parametrize("family", ["bloom", "xglm", "falcon_alibi"])
def test_families_without_a_table_of_positions_reach_further_too(make_model, family):
    engine = Engine(make_model(family), max_model_len=600)
    generation = engine.generate([1, 7] * 260, max_tokens=2)
    expected = engine.model.generate(torch.tensor([[1, 7] * 260]), max_new_tokens=2, do_sample=False)
    assert list(generation.token_ids) == expected[0, 520:].tolist()


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_neo", "gptj", "codegen"])
def test_families_with_a_table_of_positions_end_with_it(make_model, family):
    with pytest.raises(
        ValueError, match="max_model_len=1000 is not allowed: the model's position embeddings"
    ):
        Engine(make_model(family), max_model_len=1000)


@pytest.mark.parametrize("wrong", [0, 1, -5, 2.5, True, "many"])
def test_a_wrong_length_is_refused(make_model, wrong):
    with pytest.raises(ValueError, match="max_model_len="):
        Engine(make_model(), max_model_len=wrong)


def test_angles_that_change_with_the_length_end_the_context(make_model):
    """Past 32 tokens these models turn all keys by other angles: keys in the cache would not fit."""
    long = make_model("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=32)
    engine = Engine(long)
    assert engine.max_model_len == 32
    assert len(engine.generate([1] * 30, max_tokens=2).token_ids) == 2
    with pytest.raises(ValueError, match="past 32 tokens this model turns all keys by other angles"):
        Engine(long, max_model_len=33)
    dynamic = make_model(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0})
    with pytest.raises(ValueError, match="past 256 tokens"):
        Engine(dynamic, max_model_len=257)


def test_that_refusal_has_a_reason(make_model):
    """With a neighbour past 32 tokens, a short sequence of the same batch gets other logits."""
    engine = Engine(make_model("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=32))
    short = Chunk([5, 6, 7], 0, slice(0, 3))
    alone = engine.forward.run(engine.forward.prepare([short], KVCache(4)))
    far = Chunk(list(range(40)), 0, slice(16, 56))
    beside = engine.forward.run(engine.forward.prepare([short, far], KVCache(4)))
    assert (alone[0] - beside[0]).abs().max() > 1e-2
