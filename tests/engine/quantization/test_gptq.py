"""GPTQ: less output error than rounding on calibration data; with nothing to correlate, rounding itself."""

import pytest
import torch

from llmwidgets.engine.quantization.calibration import WINDOW, calibrate
from llmwidgets.engine.quantization.gptq import gptq, hessian, inverse_factor
from llmwidgets.engine.quantization.progress import Stopped
from llmwidgets.engine.quantization.rtn import rtn
from llmwidgets.engine.quantization.targets import linear_layers
from tests.engine.quantization.conftest import TOKENS, inputs_of, off


@pytest.fixture
def weights():
    return torch.randn(24, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def inputs():
    """Return correlated inputs of unequal size, shape (K, T)."""
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(64, 64, generator=generator)
    return mix @ torch.randn(64, 300, generator=generator) * torch.rand(64, 1, generator=generator)


def test_the_factor_is_that_of_the_inverse(inputs):
    H = hessian(inputs)
    factor = inverse_factor(H, damping=0.01)
    damped = H.double() + 0.01 * H.double().diagonal().mean() * torch.eye(64, dtype=torch.float64)
    U = factor.U.double()
    assert torch.allclose(U.T @ U, torch.linalg.inv(damped), rtol=1e-4, atol=1e-9)
    assert torch.equal(U, U.triu())


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("group_size", [16, 32, 64])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_an_identity_hessian_gives_rounding(weights, bits, group_size, symmetric, act_order):
    made = gptq(weights, torch.eye(64), bits, group_size, symmetric, act_order)
    plain = rtn(weights, bits, group_size, symmetric)
    assert torch.equal(made.coded.codes, plain.codes)
    assert torch.equal(made.coded.dequantize(), plain.dequantize())
    assert torch.equal(made.rounded, weights)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("group_size", [16, 32, 64])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_output_is_closer_than_by_rounding(weights, inputs, bits, group_size, act_order):
    made = gptq(weights, hessian(inputs), bits, group_size, act_order=act_order).coded
    assert off(inputs.T, weights, made.dequantize()) < off(
        inputs.T, weights, rtn(weights, bits, group_size).dequantize()
    )
    assert made.codes.min() >= -(2 ** (bits - 1))
    assert made.codes.max() < 2 ** (bits - 1)


@pytest.mark.parametrize("act_order", [False, True])
def test_the_scale_of_the_hessian_does_not_matter(weights, inputs, act_order):
    one, other = (
        gptq(weights, hessian(inputs) * factor, 3, 32, act_order=act_order).coded for factor in (1, 64)
    )
    assert torch.equal(one.codes, other.codes)


def test_lazy_blocks_change_nothing(weights, inputs, monkeypatch):
    whole = gptq(weights, hessian(inputs), 3, 16).coded.dequantize()
    monkeypatch.setattr("llmwidgets.engine.quantization.gptq._LAZY", 16)
    assert torch.allclose(gptq(weights, hessian(inputs), 3, 16).coded.dequantize(), whole, atol=1e-4)


def test_a_singular_hessian_is_damped_and_said(weights, inputs):
    made = gptq(weights, hessian(inputs[:, :20]), 3, 32)
    assert made.factor.is_singular
    assert made.factor.damping >= 0.01
    assert off(inputs[:, :20].T, weights, made.coded.dequantize()) < off(
        inputs[:, :20].T, weights, rtn(weights, 3, 32).dequantize()
    )
    assert not gptq(weights, hessian(inputs), 3, 32).factor.is_singular


def test_inputs_that_are_always_zero_do_no_harm(weights, inputs):
    inputs[5] = 0
    made = gptq(weights, hessian(inputs), 3, 32)
    assert made.factor.is_singular
    assert torch.isfinite(made.coded.dequantize()).all()
    assert torch.isfinite(gptq(weights, torch.zeros(64, 64), 3, 32).coded.dequantize()).all()


def test_the_caller_can_stop_between_blocks(weights, inputs):
    told = []
    with pytest.raises(Stopped):
        gptq(
            weights.repeat(1, 4),
            torch.eye(256),
            3,
            32,
            progress=lambda share, what: told.append(share) or False,
        )
    assert told == [0.5]


def test_every_layer_of_the_bundled_model_is_closer_than_by_rounding_at_3_bits(target):
    text = " ".join(str(number) for number in range(40)) + " It was a dark and stormy night. " * 60
    ids = [0, *target.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]][: WINDOW + 1]
    calibration = calibrate(target, ids[:WINDOW], num_tokens=WINDOW)
    known = linear_layers(target.model)
    inputs = inputs_of(target.model, list(known), [ids[:WINDOW]])
    quantized = target.quantize("gptq", 3, calibration=calibration)
    assert len(known) == 56
    for name, linear in known.items():
        W = linear.weight.detach()
        made = quantized.model.get_submodule(f"model.{name}").weight
        mine, by_rtn = (off(inputs[name], W, q) for q in (made, rtn(W, 3, 64).dequantize()))
        assert mine < by_rtn, name
        record = quantized.quantization.layer(name)
        size = off(inputs[name], W, torch.zeros_like(W))
        assert record.output_error == pytest.approx((mine / size) ** 0.5, rel=1e-2)
        assert record.rtn_output_error == pytest.approx((by_rtn / size) ** 0.5, rel=1e-2)
    assert any("no inverse" in note for layer in quantized.quantization.layers for note in layer.notes)


def test_calibration_adds_up_what_the_layers_read(engine):
    names = list(linear_layers(engine.model))
    windows = [TOKENS[:64], TOKENS[64:128]]
    inputs = inputs_of(engine.model, names, windows)
    engine_of_64 = type(engine)(engine.model, None, max_model_len=64)
    calibration = calibrate(engine_of_64, TOKENS[:128])
    assert calibration.num_tokens == 128
    for name in names:
        rows, found = inputs[name], calibration.of(name)
        assert torch.allclose(found.H, hessian(rows.T), rtol=1e-4, atol=1e-3)
        assert torch.allclose(found.mean, rows.abs().mean(dim=0), rtol=1e-4, atol=1e-6)
        assert torch.equal(found.max, rows.abs().amax(dim=0))
        assert len(found.sample) == 128
    assert calibration.of("layers.0.self_attn.q_proj") is calibration.of("layers.0.self_attn.v_proj")
    assert calibration.of("layers.0.mlp.up_proj") is not calibration.of("layers.1.mlp.up_proj")
