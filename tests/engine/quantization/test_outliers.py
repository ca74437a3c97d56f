"""Injected outliers: the same model in float, and what AWQ and LLM.int8 are for."""

import numpy as np
import pytest
import torch

import llmwidgets as lw
from llmwidgets.engine import Engine
from tests.engine.quantization.conftest import TOKENS
from tests.families import build_model


def test_a_power_of_two_changes_no_bit(engine):
    before = {name: tensor.clone() for name, tensor in engine.model.state_dict().items()}
    made = lw.inject_outliers(engine, 32, 3)
    assert torch.equal(made.forward.plain(TOKENS), engine.forward.plain(TOKENS))
    assert all(torch.equal(tensor, before[name]) for name, tensor in engine.model.state_dict().items())
    norm, own = made.model.model.layers[0].input_layernorm, engine.model.model.layers[0].input_layernorm
    assert sorted((norm.weight / own.weight).unique().tolist()) == [1, 32]
    assert "3 channels × 32" in made.name


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma", "cohere", "opt"])
def test_any_factor_computes_the_same(family):
    base = Engine(build_model(family))
    plain = base.forward.plain(TOKENS[:60])
    made = lw.inject_outliers(base, 20.0, 4, seed=5)
    assert float((made.forward.plain(TOKENS[:60]) - plain).abs().max()) <= 2e-5 * float(plain.abs().max())
    assert (
        made.generate(TOKENS[:9], max_tokens=12).token_ids
        == base.generate(TOKENS[:9], max_tokens=12).token_ids
    )


def test_the_channels_are_seen_as_salient_and_as_outliers(engine):
    made = lw.inject_outliers(engine, 64, 2)
    norm, own = made.model.model.layers[0].input_layernorm, engine.model.model.layers[0].input_layernorm
    channels = torch.nonzero(norm.weight != own.weight).flatten().tolist()
    layer = made.quantize_layer("layers.0.self_attn.q_proj", "int8", calibration=TOKENS).layers[0]
    assert layer.salient(2 / 64).tolist() == channels
    assert layer.outlier_columns.tolist() == channels
    assert engine.quantize_layer("layers.0.self_attn.q_proj", "rtn").layers[0].salient().size == 0


def test_a_threshold_saves_int8_and_scales_save_awq(engine):
    def output_errors(base, method, **knobs):
        made = base.quantize(method, calibration=TOKENS, **knobs).quantization
        return np.array([made.layer(f"layers.{i}.mlp.up_proj").output_error for i in (0, 1)])

    made = lw.inject_outliers(engine, 100, 2)
    assert (output_errors(made, "int8", threshold=0) > 3 * output_errors(made, "int8", threshold=6)).all()
    assert (output_errors(made, "awq", bits=4) < 0.7 * output_errors(made, "rtn", bits=4)).all()


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"factor": 0.5}, "at least 1"),
        ({"factor": float("inf")}, "at least 1"),
        ({"num_channels": 0}, "allowed are 1 to 64"),
        ({"num_channels": 65}, "allowed are 1 to 64"),
    ],
)
def test_what_is_not_allowed_is_refused(engine, knobs, says):
    with pytest.raises(ValueError, match=says):
        lw.inject_outliers(engine, **knobs)


def test_a_family_whose_norms_stand_behind_is_refused():
    with pytest.raises(ValueError, match="no norm whose channels"):
        lw.inject_outliers(Engine(build_model("olmo2")))
