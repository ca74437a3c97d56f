"""Which path runs a model is found when the engine is made, and what neither can run is refused."""

from dataclasses import replace

import pytest
import torch

from llmwidgets.engine import Engine, attention
from llmwidgets.engine import probe as probe_module
from llmwidgets.engine.batch import Chunk, WantedMask
from llmwidgets.engine.compatible import CompatibleForward
from llmwidgets.engine.forward import PackedForward
from llmwidgets.engine.kv_cache import KVCache

CANNOT_RUN = "family 'llama' cannot run on this engine: on the packed path .*; on the compatible path "


def refusal(forward):
    """Return why a path does not run a model."""
    with pytest.raises(ValueError, match=r".") as refused:
        probe_module.probe(forward, 258, 256)
    return str(refused.value)


@pytest.mark.parametrize("family", ["gptj", "bloom"])
def test_families_that_bypass_the_attention_interface_run_on_the_compatible_path(make_model, family):
    model = make_model(family)
    assert "only 0 of 2 layers reach Transformers' attention interface" in refusal(PackedForward(model))
    assert Engine(model).path == "compatible"


def test_an_unknown_attention_keyword_leaves_attention_to_the_model(make_model):
    model = make_model()
    for layer in model.model.layers:
        forward = layer.self_attn.forward
        layer.self_attn.forward = lambda *args, _of=forward, **kwargs: _of(*args, position_bias=1.0, **kwargs)
    assert "passes 'position_bias', which is unknown" in refusal(PackedForward(model))
    assert Engine(model).path == "compatible"


def test_a_layer_that_attends_both_ways_is_refused(make_model):
    model = make_model()
    model.model.layers[1].self_attn.is_causal = False
    with pytest.raises(ValueError, match=f"{CANNOT_RUN}the logits differ") as refused:
        Engine(model)
    assert "without a causal mask" in str(refused.value)


def test_logits_that_differ_are_refused(make_model, monkeypatch):
    for path in (PackedForward, CompatibleForward):
        run = path.run
        monkeypatch.setattr(path, "run", lambda self, batch, _run=run: _run(self, batch) + 0.01)
        assert "logits differ from a plain forward's by 0.01" in refusal(path(make_model()))
    with pytest.raises(ValueError, match=f"{CANNOT_RUN}the logits differ"):
        Engine(make_model())


@pytest.mark.parametrize(
    ("family", "ignored"), [("gpt_oss", "sinks"), ("gemma2", "softcap"), ("mistral_window", "sliding_window")]
)
def test_a_packed_path_that_ignores_something_is_seen_at_load(make_model, monkeypatch, family, ignored):
    read = attention.read_keywords
    monkeypatch.setattr(attention, "read_keywords", lambda *a: replace(read(*a), **{ignored: None}))
    assert Engine(make_model(family)).path == "compatible"


def test_a_cache_that_mixes_blocks_up_is_seen_at_load(make_model, monkeypatch):
    read = KVCache.read
    monkeypatch.setattr(KVCache, "read", lambda self, layer, slots: read(self, layer, slots.flip(0)))
    for path in (PackedForward, CompatibleForward):
        assert "logits differ" in refusal(path(make_model()))


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_a_mixture_in_bfloat16_is_not_refused_for_its_rounding(make_model, family):
    """A router may send a token to another expert; seeds 0 to 5 hold such cases for the first two."""
    for seed in range(6):
        assert Engine(make_model(family, seed).to(torch.bfloat16)).path == "packed"


def test_too_little_memory_is_no_matter_of_the_family(make_model, monkeypatch):
    def run(self, batch):
        raise torch.OutOfMemoryError("8 GiB are missing")

    monkeypatch.setattr(PackedForward, "run", run)
    with pytest.raises(torch.OutOfMemoryError, match="8 GiB"):
        Engine(make_model())


def test_a_context_of_two_tokens_is_enough_to_be_probed(make_model):
    for family, path in (("llama", "packed"), ("bloom", "compatible")):
        engine = Engine(make_model(family), max_model_len=2)
        assert engine.path == path
        assert len(engine.generate([1], max_tokens=1).token_ids) == 1


def test_facts_of_the_layers_are_what_the_model_asked_for(make_model):
    mixed = Engine(make_model("qwen3_mixed"))
    assert [layer.sliding_window for layer in mixed.layers] == [None, 8]
    gemma = Engine(make_model("gemma2"))
    assert [layer.softcap for layer in gemma.layers] == [5.0, 5.0]
    assert [(layer.num_heads, layer.num_kv_heads) for layer in gemma.layers] == [(4, 2), (4, 2)]
    assert all(layer.sinks.shape == (4,) for layer in Engine(make_model("gpt_oss")).layers)


def causal(b, h, q, kv):
    return kv <= q


def test_masks_are_recognised_by_what_they_allow():
    window = lambda b, h, q, kv: (kv <= q) & (kv > q - 8)  # noqa: E731
    chunked = lambda b, h, q, kv: (kv <= q) & (kv // 8 == q // 8)  # noqa: E731
    both_ways = lambda b, h, q, kv: torch.tensor(True)  # noqa: E731
    assert probe_module._is_known(WantedMask(causal, None))
    assert probe_module._is_known(WantedMask(window, 8))
    assert not probe_module._is_known(WantedMask(chunked, 8))
    assert not probe_module._is_known(WantedMask(chunked, None))
    assert not probe_module._is_known(WantedMask(both_ways, None))


def test_chunked_attention_is_left_to_the_model(make_model):
    engine = Engine(make_model("llama4_text", attention_chunk_size=64))  # longer than what the probe runs
    assert engine.path == "compatible"
    assert "masks have a window that no layer passes" in refusal(PackedForward(engine.model))


def test_a_mask_that_is_neither_causal_nor_a_window_is_refused(engine):
    batch = engine.forward.prepare([Chunk([1, 2])])
    engine.forward.run(batch)
    probe_module._check_masks(batch)
    batch.masks.append(WantedMask(lambda b, h, q, kv: torch.tensor(True), None))
    with pytest.raises(ValueError, match="mask is neither causal nor a sliding window"):
        probe_module._check_masks(batch)
