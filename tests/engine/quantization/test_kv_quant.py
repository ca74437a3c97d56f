"""Keys and values in codes: no error over half a step, bytes really held, and the same runs everywhere."""

import pytest
import torch

import llmwidgets as lw
from llmwidgets.engine import Engine
from llmwidgets.engine.generate import Run, finish
from llmwidgets.engine.kv_cache import KVCache
from llmwidgets.engine.quantization.kv_quant import QuantizedKVCache, cache_for, dequantize_kv, quantize_kv
from llmwidgets.engine.quantization.linear import held_bytes
from llmwidgets.records.kv_shape import KVShape
from tests.families import build_model

WAYS = [(dtype, scale) for dtype in ("int8", "int4") for scale in ("head", "token")]
PROMPT = "It was a dark"


@pytest.fixture
def x():
    return torch.randn(7, 2, 16, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.mark.parametrize(("dtype", "scale"), WAYS)
def test_no_error_is_over_half_a_step_of_its_grid(x, dtype, scale):
    bits = 8 if dtype == "int8" else 4
    held = quantize_kv(x, bits, scale)
    assert held.codes.shape == (7, 2, 16 if bits == 8 else 8)
    assert held.grids.shape == (7, 2 if scale == "head" else 1, 2)
    off = (dequantize_kv(held, bits, torch.float32) - x).abs()
    for token in range(7):
        for head in range(2):
            seen = x[token, head] if scale == "head" else x[token]
            step = (seen.max() - seen.min()) / (2**bits - 1)
            assert float(off[token, head].max()) <= float(step) * (0.5 + 1e-4)


@pytest.mark.parametrize(("dtype", "scale"), WAYS)
def test_numbers_all_alike_come_back_exactly(dtype, scale):
    x = torch.full((3, 2, 16), -2.75)
    bits = 8 if dtype == "int8" else 4
    assert torch.equal(dequantize_kv(quantize_kv(x, bits, scale), bits, torch.float32), x)


@pytest.mark.parametrize(("dtype", "scale"), WAYS)
def test_a_cache_returns_what_its_codes_stand_for(x, dtype, scale):
    cache = QuantizedKVCache(4, 4, dtype, scale)
    slots = torch.tensor([9, 3, 4, 5, 15, 0, 1])
    cache.write(0, slots, x, x[..., :8])
    bits = 8 if dtype == "int8" else 4
    expected = dequantize_kv(quantize_kv(x, bits, scale), bits, torch.float32)
    assert torch.equal(cache.read(0, slots).keys, expected)
    assert cache.read(0, slots).values.shape == (7, 2, 8)
    assert torch.equal(cache.read(0, slice(3, 6)).keys, expected[1:4])


@pytest.mark.parametrize(("dtype", "scale"), WAYS)
def test_bytes_are_those_of_the_storage(engine, dtype, scale):
    shape = engine.kv_shape.held_as(dtype, scale)
    params = engine.generate("a", max_tokens=1).sampling_params
    run = Run(engine, list(range(16)), params, kv_shape=shape)
    g = finish(run)
    held = [t for pair in run.cache._held.values() for codes in pair for t in (codes.codes, codes.grids)]
    assert run.cache.nbytes == sum(map(held_bytes, held)) == g.steps[-1].kv_bytes
    assert g.kv_shape == shape
    assert g.kv_shape.bytes_per_token * g.steps[-1].kv_tokens == g.steps[-1].kv_bytes
    grids = 2 if scale == "head" else 1
    assert shape.key_bytes == (2 * 16 * (8 if dtype == "int8" else 4) // 8 + 8 * grids,) * 2
    assert shape.bytes_per_token < engine.kv_shape.bytes_per_token


@pytest.mark.parametrize("path", ["packed", "compatible"])
@pytest.mark.parametrize(("dtype", "scale"), WAYS)
def test_generate_stream_and_serve_agree(engine, tokenizer, path, dtype, scale):
    if path == "compatible":
        engine = Engine(build_model("gptj"), tokenizer)
    assert engine.path == path
    knobs = {"kv_cache_dtype": dtype, "kv_cache_scale": scale}
    g = engine.generate(PROMPT, max_tokens=24, **knobs)
    assert list(engine.stream(PROMPT, max_tokens=24, **knobs))[-1].generation.token_ids == g.token_ids
    requests = [lw.Request(PROMPT, 24), lw.Request(PROMPT + " and", 24), lw.Request("Alice", 24)]
    serving = engine.serve(requests, block_size=4, num_gpu_blocks=40, max_num_batched_tokens=16, **knobs)
    assert serving.outputs["r0"] == g.token_ids
    assert serving.kv_shape == g.kv_shape
    assert len(set(g.token_ids)) >= 12


def test_eight_bits_are_close_and_four_are_not_the_same(engine):
    def logits(**knobs):
        shape = engine.kv_shape.held_as(**knobs)
        run = Run(engine, list(range(40)), engine.generate("a", max_tokens=1).sampling_params, kv_shape=shape)
        run.step()
        return run.cache.read(0, slice(0, 40)).keys

    exact = logits(kv_cache_dtype="auto")
    off = {
        dtype: float((logits(kv_cache_dtype=dtype) - exact).norm() / exact.norm())
        for dtype in ("int8", "int4")
    }
    assert 0 < off["int8"] < 0.01 < off["int4"] < 0.2


def test_auto_is_the_float_cache(engine):
    assert type(cache_for(engine.kv_shape, 4, 16)) is KVCache
    assert engine.generate(PROMPT, kv_cache_dtype="auto").token_ids == engine.generate(PROMPT).token_ids


def test_what_is_not_allowed_is_refused(engine):
    for work in (
        lambda **knobs: engine.generate(PROMPT, **knobs),
        lambda **knobs: engine.stream(PROMPT, **knobs),
        lambda **knobs: engine.serve([lw.Request(PROMPT, 4)], **knobs),
        lambda **knobs: engine.perplexity(PROMPT, **knobs),
    ):
        with pytest.raises(ValueError, match="allowed are 'auto', 'int8', 'int4'"):
            work(kv_cache_dtype="fp8")
        with pytest.raises(ValueError, match="allowed are 'head', 'token'"):
            work(kv_cache_dtype="int8", kv_cache_scale="channel")
    with pytest.raises(ValueError, match="use_cache=False"):
        engine.generate(PROMPT, use_cache=False, kv_cache_dtype="int8")
    odd = KVShape((4,), (2,), (15,), (16,), 4)
    assert odd.held_as("int8").bytes_per_token == 2 * 31 + 4 * 8
    with pytest.raises(ValueError, match="even sizes"):
        odd.held_as("int4")
