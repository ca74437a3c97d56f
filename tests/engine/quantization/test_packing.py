"""Packed words: those of compressed-tensors, and back without loss."""

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwidgets.engine.quantization.packing import num_words, pack, unpack


def codes_of(rows, columns, bits, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = -(2 ** (bits - 1))
    return torch.randint(low, -low, (rows, columns), dtype=torch.int8, generator=generator)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("columns", [1, 5, 31, 32, 33, 64, 100, 512])
def test_words_are_those_of_compressed_tensors(bits, columns):
    codes = codes_of(3, columns, bits)
    words = pack(codes, bits)
    assert torch.equal(words, pack_to_int32(codes, bits))
    assert torch.equal(unpack(words, bits, columns), unpack_from_int32(words, bits, codes.shape))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 130), st.integers(2, 8), st.integers(0, 2**16))
def test_codes_come_back(rows, columns, bits, seed):
    codes = codes_of(rows, columns, bits, seed)
    words = pack(codes, bits)
    assert words.shape == (rows, num_words(columns, bits))
    assert torch.equal(unpack(words, bits, columns), codes)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_extremes_come_back(bits):
    low = -(2 ** (bits - 1))
    codes = torch.tensor([[low, -low - 1, 0, -1] * 10], dtype=torch.int8)
    assert torch.equal(unpack(pack(codes, bits), bits, 40), codes)
    assert num_words(40, bits) == -(-40 * bits // 32)
