"""bitsandbytes' codes, read before and after the first forward, against its own dequantization."""

import copy

import numpy as np
import pytest
import torch
from bitsandbytes import functional as B  # noqa: N812

from llmwidgets.engine.quantization import bnb
from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.quantized_layer import dequantize

FOUR_BIT = [
    (method, double, size) for method in ("nf4", "fp4") for double in (False, True) for size in (32, 64)
]


@pytest.fixture
def weights():
    return torch.randn(96, 256, generator=torch.Generator().manual_seed(2)) * 0.05


def scheme_of(method, double=False, size=64):
    return QuantizationScheme.of(method, group_size=size, double_quant=double)


def values_of(coded, scheme):
    return dequantize(coded.codes, coded.scales, coded.zero_points, scheme)


def run_once(layer):
    """Run a layer as the first forward in eval does on a CPU with AVX512-BF16, whatever this CPU has."""
    with torch.inference_mode():
        layer(torch.randn(3, layer.in_features))
    if not getattr(layer.weight.quant_state, "packing_format_for_cpu", False):
        layer.weight.data, _ = B._convert_weight_packed_for_cpu(layer.weight.data, layer.weight.quant_state)


@pytest.mark.parametrize(("method", "double", "size"), FOUR_BIT)
def test_values_before_the_first_forward_are_bitsandbytes_own(weights, method, double, size):
    scheme = scheme_of(method, double, size)
    layer = bnb.linear_4bit(weights, None, scheme)
    own = B.dequantize_4bit(layer.weight.data, layer.weight.quant_state).numpy()
    coded = bnb.read_4bit(layer.state_dict())
    assert np.array_equal(values_of(coded, scheme), own)
    assert (coded.nested is not None) == double
    levels = B.get_4bit_type(method, "cpu").numpy()
    assert np.array_equal(scheme.levels, levels)
    assert set(np.unique(coded.codes)) == set(range(16))


@pytest.mark.parametrize(("method", "double", "size"), FOUR_BIT)
def test_values_from_the_state_dict_afterwards_are_bitsandbytes_own(weights, method, double, size):
    scheme = scheme_of(method, double, size)
    layer = bnb.linear_4bit(weights, None, scheme)
    packed, state = layer.weight.data.clone(), copy.deepcopy(layer.weight.quant_state)
    codes = bnb.read_4bit(layer.state_dict()).codes
    run_once(layer)
    coded = bnb.read_4bit(copy.deepcopy(layer).state_dict())
    assert np.array_equal(coded.codes, codes)
    absmax = state.absmax if not double else B.dequantize_blockwise(state.absmax, state.state2) + state.offset
    absmax = absmax.to(torch.bfloat16).float()  # what the repacking leaves of the scales
    if double:
        offset = absmax.mean()
        state.absmax, state.state2 = B.quantize_blockwise(absmax - offset, blocksize=256)
        state.offset = offset
    else:
        state.absmax = absmax
    assert np.array_equal(values_of(coded, scheme), B.dequantize_4bit(packed, state).numpy())


@pytest.mark.parametrize(("method", "double", "size"), FOUR_BIT)
def test_the_raw_buffer_afterwards_would_be_wrong(weights, method, double, size):
    layer = bnb.linear_4bit(weights, None, scheme_of(method, double, size))
    codes = bnb.read_4bit(layer.state_dict()).codes
    run_once(layer)
    raw = bnb.unpack_nibbles(layer.weight.data).reshape(codes.shape)
    assert (raw != codes).mean() > 0.5
    own = B.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    assert float((own - weights).abs().max()) > 0.1


@pytest.mark.parametrize("threshold", [0.0, 6.0])
def test_int8_values_are_bitsandbytes_own_before_and_after(weights, threshold):
    scheme = QuantizationScheme.of("int8", threshold=threshold)
    layer = bnb.int8_linear(weights, None, threshold)
    own = B.int8_vectorwise_dequant(layer.weight.CB, layer.weight.SCB).numpy()
    before = bnb.read_int8(layer)
    with torch.inference_mode():
        layer(torch.randn(3, 256))
    after = bnb.read_int8(layer)
    for coded in (before, after):
        assert np.array_equal(values_of(coded, scheme), own)


def test_int8_keeps_outlier_columns_in_float(weights):
    x = torch.randn(8, 256, generator=torch.Generator().manual_seed(3))
    x[:, 17] = 60.0
    exact = x @ weights.T
    off = {}
    for threshold in (0.0, 6.0):
        layer = bnb.int8_linear(weights, None, threshold)
        with torch.inference_mode():
            off[threshold] = float((layer(x) - exact).norm() / exact.norm())
        if threshold:
            assert layer.state.idx.tolist() == [17]
    assert off[6.0] < off[0.0] / 3


@pytest.mark.parametrize(("method", "double"), [("int8", False), ("nf4", False), ("nf4", True)])
def test_bytes_are_those_of_the_storage(weights, method, double):
    if method == "int8":
        layer = bnb.int8_linear(weights, None, 6.0)
        assert bnb.nbytes(layer) == 96 * 256 + 96 * 4
        with torch.inference_mode():
            layer(torch.randn(3, 256))
        assert bnb.nbytes(layer) == 96 * 256 + 96 * 4
        return
    layer = bnb.linear_4bit(weights, None, scheme_of(method, double))
    blocks = 96 * 256 // 64
    scales = blocks + 4 * -(-blocks // 256) + 4 + 1024 if double else 4 * blocks
    assert bnb.nbytes(layer) == 96 * 256 // 2 + scales + 64


def test_a_bias_is_added(weights):
    x, bias = torch.randn(3, 256), torch.randn(96)
    for layer, plain in (
        (bnb.linear_4bit(weights, bias, scheme_of("nf4")), bnb.linear_4bit(weights, None, scheme_of("nf4"))),
        (bnb.int8_linear(weights, bias, 0.0), bnb.int8_linear(weights, None, 0.0)),
    ):
        with torch.inference_mode():
            assert torch.allclose(layer(x), plain(x) + bias, atol=1e-2)
