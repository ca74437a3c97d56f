"""Each family against `model.generate`: same ids, same logits; and a broken engine seen."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from exactness import (
    BLOCK_SIZE,
    NEW_TOKENS,
    PROMPTS,
    TABLES,
    by_engine,
    by_transformers,
    first_difference,
)

import llmwidgets as lw
from llmwidgets.engine import Engine, attention
from llmwidgets.engine.compatible import CompatibleForward, PagedLayer
from llmwidgets.engine.kv_cache import BlockTable, KeysAndValues, KVCache
from tests.families import FAMILIES, build_model


@cache
def expected(family):
    """Return what Transformers makes of the prompts, computed once and by a model of its own."""
    return by_transformers(build_model(family))


def distinct(runs):
    return len({token for run in runs.values() for token in run.token_ids})


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_logits_equal_transformers(family):
    engine = Engine(build_model(family))
    assert engine.path == FAMILIES[family].path
    assert distinct(expected(family)) >= 12, "a model that repeats itself proves nothing"
    assert min(run.logits.std() for run in expected(family).values()) > 1, "nor do logits that are all alike"
    assert first_difference(by_engine(engine), expected(family)) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_serving_says_the_same(family):
    """In chunks, with a shared prefix, and a pool so small that requests are preempted."""
    engine = Engine(build_model(family))
    served = engine.serve(
        [lw.Request(prompt, NEW_TOKENS, name) for name, prompt in PROMPTS.items()],
        block_size=4,
        num_gpu_blocks=19,
        max_num_seqs=3,
        max_num_batched_tokens=7,
    )
    assert served.metrics.preemptions
    assert served.metrics.hit_tokens
    assert served.outputs == {name: tuple(run.token_ids) for name, run in expected(family).items()}


def test_both_paths_are_tried_on_many_families():
    modules = {path: set() for path in ("packed", "compatible")}
    for name, family in FAMILIES.items():
        modules[family.path].add(family.module or name)
    assert len(modules["packed"]) >= 24
    assert len(modules["compatible"]) >= 8


@pytest.mark.parametrize("family", [name for name, f in FAMILIES.items() if f.path == "packed"][::6])
def test_the_compatible_path_runs_what_the_packed_one_does(family):
    engine = Engine(build_model(family))
    engine.forward = CompatibleForward(engine.model)
    assert first_difference(by_engine(engine), expected(family)) is None


# What follows breaks the engine on purpose: a comparison that cannot fail proves nothing.


def ignore(name):
    """Return a way to make the packed path ignore one thing that a layer asks for."""

    def break_it(monkeypatch, engine):
        read = attention.read_keywords
        monkeypatch.setattr(attention, "read_keywords", lambda *a: replace(read(*a), **{name: None}))

    return break_it


def own_scaling(monkeypatch, engine):
    read = attention.read_keywords
    monkeypatch.setattr(
        attention, "read_keywords", lambda m, q, scaling, *rest: read(m, q, q.shape[-1] ** -0.5, *rest)
    )


def bloom_without_alibi(monkeypatch, engine):
    slopes = "transformers.models.bloom.modeling_bloom._get_alibi_slopes"
    monkeypatch.setattr(slopes, lambda heads, device: torch.zeros(heads))


def falcon_without_alibi(monkeypatch, engine):
    build = "transformers.models.falcon.modeling_falcon.build_alibi_tensor"
    monkeypatch.setattr(build, lambda mask, heads, dtype: torch.zeros(heads, 1, mask.shape[1], dtype=dtype))


def mpt_without_alibi(monkeypatch, engine):
    build = "transformers.models.mpt.modeling_mpt.build_mpt_alibi_tensor"
    monkeypatch.setattr(build, lambda heads, length, *a, **k: torch.zeros(heads, 1, length))


def gpt_neo_without_window(monkeypatch, engine):
    full, local = (block.attn.attention for block in engine.model.transformer.h)
    assert not torch.equal(full.bias, local.bias)
    local.bias = full.bias


def longer(name):
    """Return a way to make a window or a chunk of the model's own mask longer than the text."""

    def break_it(monkeypatch, engine):
        assert getattr(engine.model.config, name) == 8
        monkeypatch.setattr(engine.model.config, name, 200)

    return break_it


def length_zero(monkeypatch, engine):
    monkeypatch.setattr(PagedLayer, "get_seq_length", lambda self: 0)


def mask_off_by_one(monkeypatch, engine):
    sizes = PagedLayer.get_mask_sizes
    monkeypatch.setattr(PagedLayer, "get_mask_sizes", lambda self, n: (sizes(self, n)[0], 1))


def values_in_reverse(monkeypatch, engine):
    read = KVCache.read

    def reverse(self, layer, slots):
        seen = read(self, layer, slots)
        return KeysAndValues(seen.keys, seen.values.flip(0))

    monkeypatch.setattr(KVCache, "read", reverse)


def blocks_in_a_row(monkeypatch, engine):
    slots = BlockTable.slots
    monkeypatch.setattr(
        BlockTable, "slots", lambda self, n, d: slots(BlockTable(BLOCK_SIZE, sorted(self.blocks)), n, d)
    )


def other_blocks_than_the_shared(monkeypatch, engine):
    monkeypatch.setitem(TABLES, "sharing", [18, 8, *TABLES["sharing"][2:]])


@pytest.mark.parametrize(
    ("family", "break_it"),
    [
        ("gpt_oss", ignore("sinks")),
        ("gpt_oss", ignore("sliding_window")),
        ("gemma2", ignore("softcap")),
        ("gemma2", ignore("sliding_window")),
        ("gemma3_text", ignore("sliding_window")),
        ("mistral_window", ignore("sliding_window")),
        ("qwen3_mixed", ignore("sliding_window")),
        ("starcoder2", ignore("sliding_window")),
        ("cohere2", ignore("sliding_window")),
        ("exaone4", ignore("sliding_window")),
        ("granite", own_scaling),
        ("bloom", bloom_without_alibi),
        ("falcon_alibi", falcon_without_alibi),
        ("mpt", mpt_without_alibi),
        ("gpt_neo", gpt_neo_without_window),
        ("llama4_text", longer("attention_chunk_size")),
        ("qwen2_moe_window", longer("sliding_window")),
        ("bloom", length_zero),
        ("xglm", length_zero),
        ("falcon", mask_off_by_one),
        ("gptj", mask_off_by_one),
        ("llama", values_in_reverse),
        ("codegen", values_in_reverse),
        ("llama", blocks_in_a_row),
        ("codegen", blocks_in_a_row),
        ("llama", other_blocks_than_the_shared),
        ("codegen", other_blocks_than_the_shared),
    ],
    ids=lambda given: given if isinstance(given, str) else given.__qualname__.split(".")[0],
)
def test_the_comparison_sees_a_broken_engine(monkeypatch, family, break_it):
    engine = Engine(build_model(family))
    assert first_difference(by_engine(engine), expected(family)) is None
    break_it(monkeypatch, engine)
    assert first_difference(by_engine(engine), expected(family)) is not None
