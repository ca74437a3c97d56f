"""`Engine.rotate` against Transformers: its rotation, its frequencies, its logits, over several families."""

from __future__ import annotations

import copy
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llmwidgets.engine import Engine
from llmwidgets.engine.position_loss import cut_windows, stretched
from llmwidgets.engine.rope import dynamic_ntk, position_interpolation, rope_frequencies, scaled_rope, yarn
from llmwidgets.engine.rotary import layer_rotaries, own_rope, rotary_sources
from llmwidgets.engine.rotate import shift_changes
from llmwidgets.engine.rotate_plan import plan_rotate
from llmwidgets.records.rope import Rope
from tests.engine.rotary_families import ROTARY, rotary_model, watch_rotary

IDS = [(7 * i + 3) % 258 for i in range(12)]
TEXT = np.random.default_rng(0).integers(0, 258, 400).tolist()


@pytest.mark.parametrize("name", ROTARY)
def test_what_is_kept_is_what_the_model_itself_turns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(rotary_model(name))
    record = engine.rotate(IDS)
    turning = [layer for layer, rotary in enumerate(layer_rotaries(engine)) if rotary is not None]
    calls = watch_rotary(monkeypatch, engine.model)
    engine.model(input_ids=torch.tensor([IDS]))
    assert len(calls) == len(turning)
    for layer in record.layers:
        call = calls[turning.index(layer)]
        size = call.query.shape[-1]  # some families hand over only what is turned
        queries, keys = (held[record.layers.index(layer)] for held in (record.queries, record.keys))
        np.testing.assert_allclose(queries[..., :size], call.query.detach(), atol=2e-6)
        np.testing.assert_allclose(keys[..., :size], call.key.detach(), atol=2e-6)
        positions = np.arange(len(IDS))
        turned = record.turned(queries, positions), record.turned(keys, positions)
        np.testing.assert_allclose(turned[0][..., :size], call.turned_query.detach(), atol=2e-6)
        np.testing.assert_allclose(turned[1][..., :size], call.turned_key.detach(), atol=2e-6)


@pytest.mark.parametrize("name", ROTARY)
def test_a_score_is_the_models_own_at_the_tokens_own_distance(name: str) -> None:
    engine = Engine(rotary_model(name))
    record, attention = engine.rotate(IDS), engine.attend(IDS)
    for layer in record.layers:
        for head in record.heads:
            query = attention.queries[layer][head, 11]
            key = attention.keys[layer][attention.kv_head(head), 4]
            (score,) = record.scores(layer, head, 11, 4, [7])
            assert score == pytest.approx(query @ key * attention.scalings[layer], abs=1e-4)


@pytest.mark.parametrize("name", ROTARY)
def test_moving_query_and_key_together_changes_no_score(name: str) -> None:
    record = Engine(rotary_model(name)).rotate(IDS)
    assert max(record.shifts) + len(IDS) == record.trained_length
    assert record.shift_change < 2e-5


def test_angles_that_are_no_multiple_of_the_position_are_caught_by_the_shifts() -> None:
    class Bent(Rope):
        def angles(self, positions: Any, length: Any = None) -> Any:
            return super().angles(np.asarray(positions) ** 1.01, length)

    engine = Engine(rotary_model("llama"))
    record = engine.rotate(IDS)
    plan = plan_rotate(engine, IDS, None, None, "none", None, None, None, None, None, 1)
    own = record.rope()
    bent = Bent("none", own.rope_parameters, own.lengths, own.inv_freq, 1.0)
    queries, keys = record.queries[0], record.keys[0][[0, 0, 1, 1]]
    assert shift_changes(plan, queries[:, -1], keys, own, [40]).max() < 1e-4
    assert shift_changes(plan, queries[:, -1], keys, bent, [40]).max() > 0.01


def test_a_model_that_turns_otherwise_than_its_buffer_says_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(rotary_model("llama"))
    module = sys.modules[type(engine.model).__module__]
    own = module.apply_rotary_pos_emb
    monkeypatch.setattr(module, "apply_rotary_pos_emb", lambda q, k, cos, sin: own(q, k, cos, -sin))
    with pytest.raises(ValueError, match=r"layer 0 of .* in a way that is unknown here"):
        engine.rotate(IDS)


@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_a_family_without_rotary_embedding_is_refused_by_name(name: str) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

    sizes = {"vocab_size": 258, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    gpt2 = GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=64, **sizes)
    opt = OPTConfig(hidden_size=32, ffn_dim=64, num_hidden_layers=1, num_attention_heads=2, **sizes)
    model = GPT2LMHeadModel(gpt2) if name == "gpt2" else OPTForCausalLM(opt)
    with pytest.raises(ValueError, match=f"the family '{name}' hold no inverse frequencies"):
        Engine(model.eval()).rotate(IDS)


def test_layers_that_turn_alike_are_kept_together() -> None:
    gemma, smol = Engine(rotary_model("gemma3")), Engine(rotary_model("smollm3"))
    assert gemma.rotate(IDS).layers == (1,), "of two bases, that of full attention"
    assert gemma.rotate(IDS, layers=0).rope_theta < gemma.rotate(IDS).rope_theta
    with pytest.raises(ValueError, match="layers 0 and 1 turn by different frequencies"):
        gemma.rotate(IDS, layers=[0, 1])
    assert smol.rotate(IDS).layers == (0,)
    with pytest.raises(ValueError, match="layer 1 does not turn its queries and keys"):
        smol.rotate(IDS, layers=1)


@pytest.mark.parametrize("d", [16, 64, 128])
@pytest.mark.parametrize("base", [500.0, 10_000.0, 1_000_000.0])
@pytest.mark.parametrize("factor", [1.0, 2.0, 4.0, 7.5])
def test_frequencies_are_those_of_transformers(d: int, base: float, factor: float) -> None:
    trained = 1024

    def theirs(rope_type: str, length: int | None = None) -> Any:
        parameters = {"rope_type": rope_type, "rope_theta": base, "factor": factor}
        if rope_type == "yarn":
            parameters["original_max_position_embeddings"] = trained
        config = LlamaConfig(
            hidden_size=4 * d, num_attention_heads=4, head_dim=d, max_position_embeddings=trained,
            rope_parameters=parameters,
        )  # fmt: skip
        return ROPE_INIT_FUNCTIONS[rope_type](config, seq_len=length)

    np.testing.assert_allclose(position_interpolation(d, base, factor), theirs("linear")[0], rtol=2e-6)
    np.testing.assert_allclose(yarn(d, base, factor, trained), theirs("yarn")[0], rtol=2e-6)
    for length in (1, trained, trained + 1, 3 * trained, 10 * trained):
        ours = dynamic_ntk(d, base, factor, length, trained)
        np.testing.assert_allclose(ours, theirs("dynamic", length)[0], rtol=1e-5)
        assert length > trained or np.allclose(ours, rope_frequencies(d, base))
    own = Rope(
        "none", {"rope_theta": base}, np.array([8]), rope_frequencies(d, base)[None].astype(np.float32), 1.0
    )
    made = scaled_rope("yarn", own, factor, trained, [trained])
    assert made.attention_factor == pytest.approx(theirs("yarn")[1])


def transformers_losses(model: Any, rope_parameters: dict[str, Any] | None, windows: Any, edges: Any) -> Any:
    """Return the losses that plain Transformers gives with its own attention, from a config of its own."""
    losses = np.zeros(len(edges) - 1)
    for bucket, (start, stop) in enumerate(pairwise(edges)):
        config = copy.deepcopy(model.config)
        if rope_parameters is not None:
            config.rope_parameters = dict(rope_parameters)
        fresh = type(model)(config).eval()  # a fresh one each time: a dynamic rope remembers the longest
        fresh.load_state_dict(model.state_dict())
        for window in windows:
            with torch.inference_mode():
                logits = fresh(input_ids=torch.tensor([window[:stop]])).logits[0, start:]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(window[start + 1 : stop + 1]))
            losses[bucket] += loss.item() / len(windows)
    return losses


@pytest.mark.parametrize("name", ["llama", "phi", "glm", "qwen3"])
def test_losses_by_position_are_those_of_transformers(name: str) -> None:
    model = rotary_model(name)
    engine = Engine(model, max_model_len=256)
    record = engine.rotate(IDS, text=TEXT, max_position=192, bucket_size=32, num_windows=2)
    assert record.loss is not None
    edges = record.loss.edges.tolist()
    assert edges == [0, 32, 64, 96, 128, 160, 192]
    assert record.loss.num_tokens.tolist() == [64] * 6
    assert record.rope("linear").rope_parameters["factor"] == 3
    windows = cut_windows(TEXT, [], 192, 2)
    for scaling in ("none", "linear", "dynamic", "yarn"):
        parameters = None if scaling == "none" else record.rope(scaling).rope_parameters
        exact = transformers_losses(model, parameters, windows, edges)
        np.testing.assert_allclose(record.loss.of(scaling), exact, atol=2e-5)
    rows = record.loss.loss
    assert min(np.abs(a - b).max() for i, a in enumerate(rows) for b in rows[:i]) > 1e-3, (
        "four different rows"
    )


def test_a_dynamic_copy_begins_anew_with_each_window() -> None:
    model = rotary_model("llama")
    record = Engine(model, max_model_len=128).rotate(
        IDS, text=TEXT, scalings="dynamic", bucket_size=64, num_windows=2
    )
    parameters = record.rope("dynamic").rope_parameters
    exact = transformers_losses(model, parameters, cut_windows(TEXT, [], 128, 2), [0, 64, 128])
    assert record.loss is not None
    np.testing.assert_allclose(record.loss.of("dynamic"), exact, atol=2e-5)


def test_layers_of_two_bases_are_stretched_where_they_were_looked_at() -> None:
    model = rotary_model("gemma3")
    record = Engine(model, max_model_len=128).rotate(IDS, text=TEXT, scalings="linear", bucket_size=64)
    own = model.config.rope_parameters
    changed = own | {"full_attention": dict(record.rope("linear").rope_parameters)}
    exact = transformers_losses(model, changed, cut_windows(TEXT, [], 128, 1), [0, 64, 128])
    assert record.loss is not None
    np.testing.assert_allclose(record.loss.of("linear"), exact, atol=2e-5)


def test_a_dynamic_copy_turns_as_the_record_says_at_each_length() -> None:
    engine = Engine(rotary_model("llama"), max_model_len=256)
    record = engine.rotate(IDS, text=TEXT, scalings="dynamic", bucket_size=32)
    rope = record.rope("dynamic")
    rotary = layer_rotaries(engine)[0]
    assert rotary is not None
    made = stretched(engine.model, rotary.source, rope)
    for length in (64, 96, 256):
        made(input_ids=torch.tensor([TEXT[:length]]))
        np.testing.assert_allclose(made.model.rotary_emb.inv_freq, rope.frequencies(length), rtol=1e-5)


def test_the_engines_own_model_stays_as_it_was() -> None:
    model = rotary_model("llama")
    engine = Engine(model, max_model_len=256)
    config, rotary = copy.deepcopy(model.config.to_dict()), model.model.rotary_emb
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inv_freq, before = rotary.inv_freq.clone(), engine.forward.plain(IDS)
    engine.rotate(IDS, text=TEXT, max_position=256, bucket_size=64)
    assert model.config.to_dict() == config
    assert model.model.rotary_emb is rotary
    assert torch.equal(rotary.inv_freq, inv_freq)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(engine.forward.plain(IDS), before)


def test_a_copy_shares_the_weights_and_has_its_own_config() -> None:
    model = rotary_model("llama")
    source = layer_rotaries(Engine(model))[0].source  # type: ignore[union-attr]
    rope = scaled_rope("linear", own_rope(source, 64), 2.0, 64, [64])
    made = stretched(model, source, rope)
    pairs = zip(model.parameters(), made.parameters(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)
    assert made.config.rope_parameters["rope_type"] == "linear"
    assert model.config.rope_parameters["rope_type"] == "default"


def test_equal_frequencies_in_several_modules_are_stretched_together() -> None:
    model = rotary_model("llama")
    model.model.layers[1].self_attn.rotary_emb = copy.deepcopy(model.model.rotary_emb)
    record = Engine(model).rotate(IDS)
    (source,) = rotary_sources(model)
    assert source.modules == ("model.layers.1.self_attn.rotary_emb", "model.rotary_emb")
    assert record.layers == (0, 1)
    made = stretched(model, source, record.rope("linear"))
    for module in source.modules:
        np.testing.assert_allclose(made.get_submodule(module).inv_freq, record.inv_freq / 4, rtol=1e-6)


def test_a_rope_that_transformers_does_not_make_is_refused() -> None:
    model = rotary_model("llama")
    source = layer_rotaries(Engine(model))[0].source  # type: ignore[union-attr]
    rope = scaled_rope("linear", own_rope(source, 64), 2.0, 64, [64])
    wrong = Rope("linear", rope.rope_parameters, rope.lengths, rope.inv_freq * np.float32(1.001), 1.0)
    with pytest.raises(ValueError, match="Transformers makes other frequencies"):
        stretched(model, source, wrong)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"scalings": "ntk"}, "scalings='ntk' is not allowed; allowed are some of 'none', 'linear'"),
        ({"factor": 0.5}, "factor=0.5 is not allowed; allowed is a number of at least 1"),
        ({"factor": float("nan")}, "factor=nan"),
        ({"max_distance": 0}, "max_distance=0 is not allowed; allowed are whole numbers from 1"),
        ({"max_position": 65}, "max_position=65 is not allowed; .* to 64 .*max_model_len= of lw.load"),
        (
            {"text": TEXT[:20]},
            "text has 20 tokens; for positions up to max_position=64 at least 65 are needed",
        ),
        ({"text": "words"}, "text='words' is text, but this engine has no tokenizer"),
        ({"text": [*TEXT, 258]}, "text has the token id 258; allowed are 0 to 257"),
        ({"bucket_size": 0}, "bucket_size=0"),
        ({"num_windows": 0}, "num_windows=0"),
        ({"layers": 2}, "layers=2 is not allowed"),
        ({"heads": 4}, "heads=4 is not allowed"),
        ({"prompt": []}, "prompt has no tokens"),
    ],
)
def test_bad_arguments_are_refused_by_name(asked: dict[str, Any], message: str) -> None:
    engine = Engine(rotary_model("llama"))
    with pytest.raises(ValueError, match=message):
        engine.rotate(**({"prompt": IDS} | asked))


def test_a_begin_token_stands_before_each_window(engine: Engine) -> None:
    plan = plan_rotate(engine, "a", None, None, "none", None, None, "xyz" * 100, 64, 16, 3)
    assert plan.windows is not None
    assert [window[0] for window in plan.windows] == [256] * 3
    assert {len(window) for window in plan.windows} == {65}
    assert plan.windows[0][1:4] == list(b"xyz")
    assert plan.windows[2][-1] == ord("z")
