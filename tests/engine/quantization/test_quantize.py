"""`Engine.quantize` and `quantize_layer`: engines that run, records that add up, refusals before any work."""

import numpy as np
import pytest
import torch

import llmwidgets as lw
from llmwidgets.engine import Engine
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.kv_cache import KVCache
from llmwidgets.engine.quantization.linear import QuantizedLinear, held_bytes
from llmwidgets.engine.quantization.progress import Stopped
from tests.engine.quantization.conftest import TOKENS
from tests.families import build_model

METHODS = [
    {"method": "rtn"},
    {"method": "rtn", "bits": 3, "group_size": -1, "symmetric": False},
    {"method": "int8"},
    {"method": "nf4"},
    {"method": "fp4", "group_size": 32, "double_quant": True},
    {"method": "gptq", "bits": 3, "group_size": 32, "act_order": True, "calibration": TOKENS},
    {"method": "awq", "bits": 3, "group_size": 32, "calibration": TOKENS},
]
NAMES = [str(knobs["method"]) + ("" if "bits" not in knobs else str(knobs["bits"])) for knobs in METHODS]


def snapshot(model):
    return {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}


def untouched(model, before):
    now = model.state_dict()
    hooks = [hook for m in model.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]
    return (
        not hooks
        and list(now) == list(before)
        and all(now[n].data_ptr() == p and torch.equal(now[n], t) for n, (p, t) in before.items())
    )


@pytest.fixture(scope="module", params=METHODS, ids=NAMES)
def knobs(request):
    return request.param


@pytest.fixture(scope="module")
def quantized(engine, knobs):
    before = snapshot(engine.model)
    made = engine.quantize(**knobs)
    assert untouched(engine.model, before)
    return made


def test_a_quantized_engine_runs_every_way(quantized, engine, knobs):
    g = quantized.generate("It was a dark", max_tokens=12)
    assert len(g.token_ids) == 12
    assert list(quantized.stream("It was a dark", max_tokens=12))[-1].generation.token_ids == g.token_ids
    served = quantized.serve([lw.Request("It was a dark", 12)], num_gpu_blocks=8)
    assert served.outputs["r0"] == g.token_ids
    assert quantized.attend("dark").weights(0, 0).shape == (5, 5)
    assert np.isfinite(float(quantized.perplexity(TOKENS)))
    assert knobs["method"] in quantized.name
    assert quantized.name in repr(quantized)


def test_the_paged_path_computes_what_a_plain_forward_does(quantized, knobs):
    ids = TOKENS[:60]
    chunks = [Chunk(ids[:41], 0, slice(0, 41), 41), Chunk(ids[41:], 41, slice(0, 60), 19)]
    cache = KVCache(4, 16)
    forward = quantized.forward
    paged = torch.cat([forward.run(forward.prepare([chunk], cache)) for chunk in chunks])
    plain = forward.plain(ids)
    # bitsandbytes rounds inputs to 8 bits, or on some CPUs to bfloat16, so there a batch matters a little.
    loose = 0.02 * float(plain.abs().max())
    allowed = {"int8": 4 * loose, "nf4": loose, "fp4": loose}.get(knobs["method"], 5e-5)
    assert float((paged - plain).abs().max()) <= allowed


def test_the_record_is_what_the_layers_hold(quantized, engine):
    record = quantized.quantization
    assert len(record.layers) == 14
    assert record.names[:2] == ("layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj")
    for layer in record.layers:
        module = quantized.model.get_submodule(f"model.{layer.name}")
        original = engine.model.get_submodule(f"model.{layer.name}")
        assert layer.float_nbytes == original.weight.nbytes
        assert layer.shape == tuple(original.weight.shape)
        if isinstance(module, QuantizedLinear):
            assert layer.nbytes == sum(map(held_bytes, module.buffers()))
            assert np.array_equal(layer.dequantized, module.weight.numpy())
        errors = layer.quantized - original.weight.detach().numpy()
        assert layer.max_error == pytest.approx(np.abs(errors).max(), rel=1e-5)
        norms = np.linalg.norm(errors) / np.linalg.norm(original.weight.detach().numpy())
        assert layer.weight_error == pytest.approx(norms, rel=1e-4)
        assert layer.weights is None
        assert layer.before.counts.sum() == layer.after.sum() == layer.steps.counts.sum() == layer.codes.size
    others = {p.data_ptr(): p.nbytes for name, p in engine.model.named_parameters() if "_proj" not in name}
    assert record.other_nbytes == sum(others.values())


def test_the_logits_are_those_of_the_values_in_a_float_model(quantized, engine, knobs):
    if knobs["method"] == "int8":
        pytest.skip("LLM.int8 rounds its inputs too")
    model = build_model("llama")
    for layer in quantized.quantization.layers:
        weight = torch.from_numpy(layer.quantized.copy())
        model.get_submodule(f"model.{layer.name}").weight.data.copy_(weight)
    with torch.inference_mode():
        plain = model(torch.tensor([TOKENS[:60]])).logits[0]
    found = quantized.forward.plain(TOKENS[:60])
    is_float32 = knobs["method"] not in ("nf4", "fp4")  # bitsandbytes computes in bfloat16 on some CPUs
    allowed = (2e-5 if is_float32 else 0.02) * float(plain.abs().max())
    assert float((found - plain).abs().max()) <= allowed
    assert float((engine.forward.plain(TOKENS[:60]) - plain).abs().max()) > 1e-2


def test_one_layer_is_the_same_as_in_the_whole_model(quantized, engine, knobs):
    name = "layers.1.mlp.up_proj"
    one = engine.quantize_layer(name, **knobs).layers[0]
    assert np.array_equal(one.codes, quantized.quantization.layer(name).codes)
    assert np.array_equal(one.weights, engine.model.get_submodule(f"model.{name}").weight.detach().numpy())
    group = one.group(7, 0)
    assert np.array_equal(group.errors, one.quantized[7, : one.group_size] - group.weights)
    assert group.steps[0].name == "value"
    assert group.steps[-1].name == "error"


def test_some_layers_only(engine):
    made = engine.quantize("rtn", layers=["layers.0.mlp.*", "layers.1.self_attn.q_proj"])
    assert made.quantization.names == (
        "layers.0.mlp.gate_proj",
        "layers.0.mlp.up_proj",
        "layers.0.mlp.down_proj",
        "layers.1.self_attn.q_proj",
    )
    kept = made.model.model.layers[1].mlp.up_proj
    assert kept.weight is engine.model.model.layers[1].mlp.up_proj.weight
    awq = engine.quantize("awq", 3, 32, calibration=TOKENS, layers="layers.0.mlp.gate_proj")
    plain, ids = engine.quantize("rtn", 3, 32, layers="layers.0.mlp.gate_proj"), TOKENS[:40]
    exact = engine.forward.plain(ids)
    assert (awq.forward.plain(ids) - exact).norm() < (plain.forward.plain(ids) - exact).norm()


REFUSED = [
    ({"method": "ggml"}, "allowed are 'rtn', 'int8'"),
    ({"method": "nf4", "bits": 3}, "bits=3 is not allowed for 'nf4'; allowed are 4"),
    ({"method": "rtn", "bits": 1}, "allowed are 2, 3, 4, 5, 6, 7, 8"),
    ({"method": "rtn", "bits": 4.0}, "bits=4.0 is not allowed"),
    ({"method": "int8", "group_size": 64}, "has a scale a row; allowed is -1"),
    ({"method": "nf4", "group_size": 48}, "allowed are 32, 64, 128"),
    (
        {"method": "rtn", "group_size": 48},
        "does not divide the 64 columns; .* allowed are divisors of 64, such as 8",
    ),
    ({"method": "rtn", "group_size": 0}, "allowed is a number from 1, or -1"),
    ({"method": "rtn", "act_order": True}, "allowed for 'gptq'"),
    ({"method": "nf4", "symmetric": False}, "whose levels are fixed"),
    ({"method": "rtn", "threshold": 6.0}, "allowed for 'int8'"),
    ({"method": "rtn", "clip": 0}, "above 0, at most 1"),
    ({"method": "awq", "clip": 0.9}, "finds its own"),
    ({"method": "rtn", "double_quant": True}, "allowed for 'nf4' and 'fp4'"),
    ({"method": "gptq", "calibration": TOKENS[:255]}, "at least 256 are needed, which is one window"),
    ({"method": "gptq", "calibration": [1, 999]}, "allowed are 0 to 257"),
    ({"method": "rtn", "layers": "layers.0.mlp.upproj"}, "nearest are 'layers.0.mlp.up_proj'"),
    ({"method": "rtn", "layers": []}, "is empty"),
]


@pytest.mark.parametrize(("knobs_given", "says"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_allowed_is_refused(engine, knobs_given, says):
    told = []
    with pytest.raises(ValueError, match=says):
        engine.quantize(**knobs_given, progress=lambda *given: told.append(given) is None)
    assert told == []  # before any work


def test_a_name_that_is_no_layer_is_refused(engine):
    with pytest.raises(ValueError, match=r"nearest are 'layers.1.mlp.down_proj'"):
        engine.quantize_layer("layers.1.mlp.down")
    with pytest.raises(ValueError, match="is a pattern"):
        engine.quantize_layer("layers.*")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    model = build_model("llama")
    base = Engine(model)
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = bad
    for work in (lambda: base.quantize("rtn"), lambda: base.quantize_layer("layers.1.mlp.up_proj")):
        with pytest.raises(ValueError, match=r"'layers.1.mlp.up_proj' hold NaN or infinity"):
            work()


def test_a_quantized_engine_is_not_quantized_again(quantized):
    for work in (
        lambda: quantized.quantize("rtn"),
        lambda: quantized.quantize_layer("layers.0.mlp.up_proj"),
        lambda: lw.inject_outliers(quantized),
    ):
        with pytest.raises(ValueError, match="quantized"):
            work()


def test_families_without_linear_layers_are_refused():
    with pytest.raises(ValueError, match="Conv1D"):
        Engine(build_model("gpt2")).quantize("rtn")


def test_a_calibration_of_another_model_is_refused(engine, mha_engine):
    calibration = lw.calibrate(mha_engine, TOKENS)
    with pytest.raises(ValueError, match=r"another model"):
        engine.quantize("gptq", group_size=32, calibration=calibration)
    some = lw.calibrate(engine, TOKENS, layers="layers.0.*")
    with pytest.raises(ValueError, match=r"has not seen 'layers.1.self_attn.q_proj'"):
        engine.quantize("gptq", group_size=32, calibration=some)


def stop_after(calls):
    """Return a progress that says no at a call."""
    left = iter(range(calls, -1, -1))
    return lambda share, what: next(left) > 0


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
def test_the_caller_can_stop_and_nothing_has_changed(engine, method):
    knobs = {
        "method": method,
        "bits": 3,
        "group_size": 32,
        "calibration": None if method == "rtn" else TOKENS,
    }
    shares = []
    engine.quantize(**knobs, progress=lambda share, what: not shares.append(share))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    before = snapshot(engine.model)
    for calls in range(0, len(shares), max(1, len(shares) // 6)):
        with pytest.raises(Stopped):
            engine.quantize(**knobs, progress=stop_after(calls))
        assert untouched(engine.model, before)


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
def test_an_interrupt_in_the_middle_changes_nothing(engine, method):
    before, plain = snapshot(engine.model), engine.forward.plain(TOKENS[:30])

    def interrupt(share, what):
        if share > 0.6:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        engine.quantize(method, 3, 32, calibration=None if method == "rtn" else TOKENS, progress=interrupt)
    assert untouched(engine.model, before)
    assert torch.equal(engine.forward.plain(TOKENS[:30]), plain)


def test_a_model_in_bfloat16_keeps_scales_in_bfloat16(tokenizer):
    base = Engine(build_model("llama").to(torch.bfloat16), tokenizer)
    for method, calibration in (("rtn", None), ("nf4", None), ("int8", None), ("awq", TOKENS)):
        made = base.quantize(method, calibration=calibration)
        assert len(made.generate("It was", max_tokens=4).token_ids) == 4
        module = made.model.model.layers[0].mlp.up_proj
        if method in ("rtn", "awq"):
            assert module.weight_scale.dtype == module.weight.dtype == torch.bfloat16
            layer = made.quantization.layers[5]
            assert layer.nbytes == layer.codes.size // 2 + 2 * layer.scales.size


def test_the_roofline_counts_packed_weights(engine):
    made = engine.quantize("rtn", 4)
    sweep = made.roofline(prompt_lengths=(4,), batch_sizes=(1, 2), context=8)
    plain = engine.roofline(prompt_lengths=(4,), batch_sizes=(1, 2), context=8, ceilings=sweep.ceilings)
    saved = made.quantization.float_nbytes - made.quantization.nbytes
    assert plain.points[0].weight_bytes - sweep.points[0].weight_bytes == saved
    assert plain.points[0].flops == sweep.points[0].flops
    with pytest.raises(ValueError, match="Linear4bit"):
        engine.quantize("nf4").roofline()
