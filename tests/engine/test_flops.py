"""Counted work against oracles: PyTorch's own FLOP counter, and the storages that a pass really touches."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from llmwidgets.engine import Engine, attention
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.flops import WorkCounter, check_count, flops_by_torch
from llmwidgets.engine.kv_cache import BlockTable, KVCache

FAMILIES = ["llama", "qwen3", "gpt2", "gemma2", "mistral_window", "qwen3_mixed"]
TIED = [("llama", {"tie_word_embeddings": True}), ("gpt2", {"tie_word_embeddings": True})]
UNTIED = [(family, {}) for family in FAMILIES]


def tokens(count):
    return [(3 + 7 * i) % 256 for i in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [1, 5, 21])  # longer than the window of 8
def test_prefill_flops_equal_pytorchs_count_on_the_eager_path(make_model, family, length):
    engine = Engine(make_model(family))
    own = engine.model.config._attn_implementation
    work = WorkCounter(engine.model, engine.layers).count([Chunk(tokens(length), num_logits=length)])
    assert work.linear_flops + work.attention_flops == flops_by_torch(engine.forward, tokens(length))
    assert engine.model.config._attn_implementation == own


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("context", "new"), [(5, 1), (20, 1), (20, 3)])
def test_decode_flops_equal_pytorchs_count_on_the_eager_path(make_model, family, context, new):
    engine = Engine(make_model(family))
    model = engine.model
    model.set_attn_implementation("eager")
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(torch.tensor([tokens(context)]), past_key_values=cache, use_cache=True)
        with FlopCounterMode(display=False) as counter:
            model(torch.tensor([tokens(new)]), past_key_values=cache, use_cache=True, logits_to_keep=1)
    work = WorkCounter(model, engine.layers).count([Chunk(tokens(new), context)])
    assert work.linear_flops + work.attention_flops == counter.get_total_flops()


class TouchedParameters(TorchDispatchMode):
    """Adds up the bytes of parameters that operations read; of an embedding only the rows looked up."""

    def __init__(self, model):
        super().__init__()
        self.storages = {p.untyped_storage().data_ptr(): p.untyped_storage() for p in model.parameters()}
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.embedding.default:
            self.nbytes += args[1].numel() * args[0][0].nbytes
        elif not func.is_view:
            for argument in args:
                if isinstance(argument, torch.Tensor):
                    storage = self.storages.get(argument.untyped_storage().data_ptr())
                    self.nbytes += 0 if storage is None else storage.nbytes()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("family", "config"), UNTIED + TIED)
def test_weight_bytes_equal_the_storages_that_a_packed_pass_reads(make_model, family, config):
    engine = Engine(make_model(family, **config))
    forward, chunks = engine.forward, [Chunk(tokens(7)), Chunk(tokens(3))]
    with TouchedParameters(engine.model) as touched:
        forward.run(forward.prepare(chunks))
    counter = WorkCounter(engine.model, engine.layers)
    assert counter.count(chunks).weight_bytes == touched.nbytes
    stored = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in engine.model.parameters()}
    assert counter.parameter_bytes == sum(stored.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_kv_bytes_equal_what_attention_reads_and_the_cache_stores(make_model, family, monkeypatch):
    engine = Engine(make_model(family))
    cache, table = KVCache(4), BlockTable(16, [0, 1, 2, 3])
    device = engine.forward.device
    first = Chunk(tokens(20), 0, table.slots(20, device))
    then = Chunk(tokens(3), 20, table.slots(23, device))
    engine.forward.run(engine.forward.prepare([first], cache))
    read = []
    own = attention.F.scaled_dot_product_attention, attention._attend_openly

    def fused(query, key, value, **asked):
        read.append(key.nbytes + value.nbytes)
        return own[0](query, key, value, **asked)

    def openly(query, key, value, first, attend):
        read.append(key.nbytes + value.nbytes)
        return own[1](query, key, value, first, attend)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", fused)
    monkeypatch.setattr(attention, "_attend_openly", openly)
    engine.forward.run(engine.forward.prepare([then], cache))
    work = WorkCounter(engine.model, engine.layers).count([then])
    assert work.kv_read_bytes == sum(read)
    assert work.kv_written_bytes == 3 * cache.bytes_per_token == 3 * engine.kv_shape.bytes_per_token
    stored = sum(layer.keys.untyped_storage().nbytes() + layer.values.untyped_storage().nbytes()
                 for layer in cache._layers.values())  # fmt: skip
    assert WorkCounter(engine.model, engine.layers).count([Chunk(tokens(64))]).kv_written_bytes == stored


def test_a_batch_reads_weights_once_and_each_cache_for_itself(engine):
    counter = WorkCounter(engine.model, engine.layers)
    one, four = counter.count([Chunk([1], 9)]), counter.count([Chunk([1], 9)] * 4)
    assert four.weight_bytes - one.weight_bytes == 3 * counter.bytes_per_token
    assert four.kv_read_bytes == 4 * one.kv_read_bytes
    assert four.linear_flops == 4 * one.linear_flops


def test_a_formula_that_is_off_is_found(engine):
    counter = WorkCounter(engine.model, engine.layers)
    check_count(engine.forward, counter)
    counter.flops_per_token += 2
    with pytest.raises(ValueError, match="but PyTorch counts"):
        check_count(engine.forward, counter)


def test_a_mixture_of_experts_is_refused_by_name(make_model):
    engine = Engine(make_model("gpt_oss"))
    with pytest.raises(ValueError, match=r"layers\.0\.mlp\.router is a GptOssTopKRouter.*no mixtures"):
        WorkCounter(engine.model, engine.layers)
