"""AWQ: no more output error than rounding for layers that share a scale, and folds that change no logit."""

import pytest
import torch

from llmwidgets.engine import Engine
from llmwidgets.engine.quantization.awq import (
    ALPHAS,
    Rounding,
    awq_scales,
    output_error,
    search_clip,
    search_scales,
)
from llmwidgets.engine.quantization.calibration import calibrate
from llmwidgets.engine.quantization.fold import fold, scale_groups
from llmwidgets.engine.quantization.gptq import hessian
from llmwidgets.engine.quantization.rtn import rtn
from llmwidgets.engine.quantization.targets import linear_layers
from tests.engine.quantization.conftest import TOKENS, inputs_of, off
from tests.families import build_model


@pytest.fixture
def inputs():
    """Return inputs with two large columns, shape (K, T)."""
    inputs = torch.randn(64, 300, generator=torch.Generator().manual_seed(1))
    inputs[[5, 40]] *= 30
    return inputs


@pytest.fixture
def matrices():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, 64, generator=generator) for rows in (24, 32)]


def test_the_output_error_follows_from_the_hessian(matrices, inputs):
    D = matrices[0] * 0.1
    assert float(output_error(D, hessian(inputs))) == pytest.approx(
        float((D @ inputs).square().sum()), rel=1e-4
    )


def test_alpha_0_scales_nothing_and_is_tried(inputs):
    assert ALPHAS[0] == 0
    assert len(ALPHAS) == 20
    assert torch.equal(awq_scales(inputs.abs().mean(dim=1), 0), torch.ones(64))


def test_the_search_finds_the_least_summed_error(matrices, inputs):
    H, mean, rounding = hessian(inputs), inputs.abs().mean(dim=1), Rounding(3, 32)
    found = search_scales(matrices, H, mean, rounding)
    tried = [
        sum(
            off(inputs.T, W, rounding(W * awq_scales(mean, alpha)).dequantize() / awq_scales(mean, alpha))
            for W in matrices
        )
        for alpha in ALPHAS
    ]
    assert found.errors == pytest.approx(tried, rel=1e-3)
    assert found.alpha == ALPHAS[tried.index(min(tried))] > 0
    assert min(tried) < 0.7 * tried[0]  # with such columns it pays


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_clipping_is_kept_only_where_the_layer_gains(matrices, inputs, bits):
    rounding = Rounding(bits, 32)
    clipped = off(inputs.T, matrices[0], search_clip(matrices[0], hessian(inputs), rounding).dequantize())
    assert clipped <= off(inputs.T, matrices[0], rounding(matrices[0]).dequantize())


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("heads", ["engine", "mha_engine"])
def test_each_group_of_layers_that_share_a_scale_is_no_worse_than_rounding(request, heads, bits):
    base: Engine = request.getfixturevalue(heads)
    known = linear_layers(base.model)
    inputs = inputs_of(base.model, list(known), [TOKENS])
    quantized = base.quantize("awq", bits, 32, calibration=TOKENS, layers=None)
    forward = type(base.forward)(build_model("llama", num_key_value_heads=2 if heads == "engine" else 4))
    groups = scale_groups(forward, list(known))
    scaled = {name for group in groups for name in group.linears}
    for names in [group.linears for group in groups] + [(name,) for name in known if name not in scaled]:
        mine = by_rtn = 0.0
        for name in names:
            W = known[name].weight.detach()
            made = torch.from_numpy(quantized.quantization.layer(name).quantized.copy())
            mine += off(inputs[name], W, made)
            by_rtn += off(inputs[name], W, rtn(W, bits, 32).dequantize())
        assert mine <= by_rtn * (1 + 1e-4), names
    assert any((quantized.quantization.layer(name).alpha or 0) > 0 for name in known)


def test_under_grouped_queries_the_output_projection_is_not_scaled(engine, mha_engine):
    layers = {}
    for name, base in (("gqa", engine), ("mha", mha_engine)):
        made = base.quantize("awq", 3, 32, calibration=TOKENS).quantization
        layers[name] = made.layer("layers.0.self_attn.o_proj")
    assert layers["gqa"].input_scales is None
    assert layers["gqa"].alpha is None
    assert layers["mha"].input_scales is not None


GROUPS = {  # how many tensors of the two layers can be scaled, and why not more
    "llama": 6,  # behind both norms, and before down; v feeds o by groups of queries
    "qwen2": 6,  # biases go along
    "gemma": 6,  # the norm multiplies with 1 + weight
    "olmo2": 2,  # its norms stand behind, not before
    "opt": 8,  # v before out too, and fc2 behind a ReLU
    "cohere": 4,  # attention and MLP read one norm
    "mixtral": 2,  # the MLP's norm feeds a router and experts in one tensor
    "phi": 2,  # attention and MLP read one norm; fc2 lies behind a GELU
}


@pytest.mark.parametrize("family", GROUPS)
def test_a_fold_changes_no_logit(family):
    model = build_model(family)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # norms and biases that do something
            parameter.data += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(len(name))
            )
    base = Engine(model)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    plain = base.forward.plain(TOKENS[:50])
    forward = type(base.forward)(model)
    groups = scale_groups(forward, list(linear_layers(model)))
    assert len(groups) == GROUPS[family]
    after = dict(model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)  # a trial leaves no trace
    for group in groups:
        columns = linear_layers(model)[group.linears[0]].in_features
        fold(model, group, 0.5 + torch.rand(columns, generator=torch.Generator().manual_seed(3)))
    folded = forward.plain(TOKENS[:50])
    assert float((folded - plain).abs().max()) <= 2e-5 * float(plain.abs().max())
    moved = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert len(moved) > len(groups)


def test_one_layer_is_scaled_with_its_group(mha_engine):
    whole = mha_engine.quantize("awq", 3, 32, calibration=TOKENS).quantization
    calibration = calibrate(mha_engine, TOKENS)
    for name in ("layers.1.self_attn.k_proj", "layers.1.self_attn.o_proj", "layers.1.mlp.down_proj"):
        one = mha_engine.quantize_layer(name, "awq", 3, 32, calibration=calibration).layers[0]
        assert one.alpha == whole.layer(name).alpha
        assert one.output_error == pytest.approx(whole.layer(name).output_error, rel=1e-3)
