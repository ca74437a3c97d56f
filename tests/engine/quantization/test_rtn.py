"""Round to nearest: grid and codes of compressed-tensors, no error over half a step, bytes by formula."""

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams

from llmwidgets.engine.quantization.linear import QuantizedLinear, held_bytes
from llmwidgets.engine.quantization.rtn import find_grid, rtn

ROWS, COLUMNS = 48, 128


@pytest.fixture
def weights():
    W = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1)) * 0.05
    W[5] = W[5].abs()  # a row on one side of 0
    return W


def of_compressed_tensors(W, bits, group_size, symmetric):
    """Return grid and checkpoint tensors by compressed-tensors' own functions."""
    args = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="group", group_size=group_size)
    groups = W.reshape(len(W), -1, group_size)
    scales, zeros = calculate_qparams(groups.amin(dim=-1), groups.amax(dim=-1), args)
    state = {"weight": W, "weight_scale": scales}
    if not symmetric:
        state["weight_zero_point"] = zeros.to(torch.int8)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    packed = PackedQuantizationCompressor.compress(state, scheme)
    return packed, PackedQuantizationCompressor.decompress(packed, scheme)["weight"]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_codes_scales_and_values_are_those_of_compressed_tensors(weights, bits, group_size, symmetric):
    layer = QuantizedLinear(rtn(weights, bits, group_size, symmetric), bits, None, torch.float32)
    packed, values = of_compressed_tensors(weights, bits, group_size, symmetric)
    assert torch.equal(layer.weight_packed, packed["weight_packed"])
    assert torch.equal(layer.weight_scale, packed["weight_scale"])
    if not symmetric:
        assert torch.equal(layer.weight_zero_point, packed["weight_zero_point"])
    assert torch.equal(layer.weight, values)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_no_error_is_over_half_a_step(weights, bits, symmetric):
    coded = rtn(weights, bits, 32, symmetric)
    steps = (coded.dequantize() - weights).reshape(ROWS, -1, 32) / coded.grid.scales[..., None]
    assert float(steps.abs().max()) <= 0.5 + 1e-5
    assert len(coded.codes.unique()) == 2**bits  # all levels are used


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_group_of_zeros_stays_zero(weights, symmetric):
    weights[3, :32] = 0
    assert not rtn(weights, 4, 32, symmetric).dequantize()[3, :32].any()


def test_clipping_covers_a_share_of_the_range(weights):
    groups = weights.reshape(ROWS, -1, 32)
    assert torch.allclose(find_grid(groups, 4, clip=0.5).scales[0], find_grid(groups, 4).scales[0] / 2)
    shares = torch.full((ROWS, COLUMNS // 32), 0.5)
    assert torch.equal(find_grid(groups, 4, clip=shares).scales, find_grid(groups, 4, clip=0.5).scales)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_bytes_are_those_of_the_storage(weights, bits, symmetric):
    layer = QuantizedLinear(rtn(weights, bits, 32, symmetric), bits, None, torch.float32)
    groups = COLUMNS // 32
    zeros = 0 if symmetric else -(-ROWS * bits // 32) * 4 * groups
    assert layer.nbytes == ROWS * COLUMNS * bits // 8 + ROWS * groups * 4 + zeros
    assert layer.nbytes == sum(held_bytes(tensor) for tensor in layer.state_dict().values())


def test_the_layer_is_the_linear_layer_of_its_values(weights):
    bias, x = torch.randn(ROWS), torch.randn(2, 5, COLUMNS)
    layer = QuantizedLinear(rtn(weights, 4, 32), 4, bias, torch.float32)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, bias))
    assert layer.bias.data_ptr() == bias.data_ptr()
