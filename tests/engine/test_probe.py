"""What the packed path cannot run is refused when the engine is made, with the family's name."""

import pytest
import torch

from llmwidgets.engine import Engine
from llmwidgets.engine import probe as probe_module
from llmwidgets.engine.batch import Chunk, WantedMask


@pytest.mark.parametrize("family", ["gptj", "bloom"])
def test_families_that_bypass_the_attention_interface_are_refused(make_model, family):
    with pytest.raises(ValueError, match=f"family '{family}' cannot run.*0 of 2 layers reach"):
        Engine(make_model(family))


def test_an_unknown_attention_keyword_is_refused(make_model):
    model = make_model()
    for layer in model.model.layers:
        forward = layer.self_attn.forward
        layer.self_attn.forward = lambda *args, _of=forward, **kwargs: _of(*args, position_bias=1.0, **kwargs)
    with pytest.raises(ValueError, match=r"family 'llama'.*passes 'position_bias'"):
        Engine(model)


def test_a_layer_that_attends_both_ways_is_refused(make_model):
    model = make_model()
    model.model.layers[1].self_attn.is_causal = False
    with pytest.raises(ValueError, match="without a causal mask"):
        Engine(model)


def test_logits_that_differ_are_refused(make_model, monkeypatch):
    attend_one = probe_module.PackedForward.run
    monkeypatch.setattr(probe_module.PackedForward, "run", lambda self, batch: attend_one(self, batch) + 0.01)
    with pytest.raises(ValueError, match=r"logits differ from a plain forward's by 0\.01"):
        Engine(make_model())


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


def test_llama4_with_chunked_attention_is_refused(make_model):
    from transformers.models.llama4.configuration_llama4 import Llama4TextConfig
    from transformers.models.llama4.modeling_llama4 import Llama4ForCausalLM

    torch.manual_seed(0)
    config = Llama4TextConfig(
        vocab_size=258, hidden_size=64, intermediate_size=64, intermediate_size_mlp=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_local_experts=2, moe_layers=[],
        attention_chunk_size=512, max_position_embeddings=1024, bos_token_id=None, eos_token_id=None,
        pad_token_id=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="family 'llama4_text' cannot run"):
        Engine(Llama4ForCausalLM(config).eval())


def test_max_model_len(make_model):
    assert Engine(make_model()).max_model_len == 256
    longer = Engine(make_model(), max_model_len=1000)
    assert len(longer.generate([1] * 900, max_tokens=2).token_ids) == 2
    with pytest.raises(
        ValueError, match="max_model_len=1000 is not allowed: the model's position embeddings"
    ):
        Engine(make_model("gpt2"), max_model_len=1000)
    for wrong in (0, 1, -5, 2.5, True, "many"):
        with pytest.raises(ValueError, match="max_model_len="):
            Engine(make_model(), max_model_len=wrong)


def test_a_mask_that_is_neither_causal_nor_a_window_is_refused(engine):
    batch = engine.forward.prepare([Chunk([1, 2])])
    engine.forward.run(batch)
    probe_module._check_masks("llama", batch)
    batch.masks.append(WantedMask(lambda b, h, q, kv: torch.tensor(True), None))
    with pytest.raises(ValueError, match=r"family 'llama'.*mask is neither causal nor a sliding window"):
        probe_module._check_masks("llama", batch)
