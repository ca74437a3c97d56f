"""Planned steps against the engine's own counts, and against figures that others printed."""

from dataclasses import replace

import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from llmwidgets.engine import Engine
from llmwidgets.engine.bundled import bundled_folder
from llmwidgets.engine.loading import load
from llmwidgets.planning.roofline import model_roofline
from llmwidgets.records.device_card import DEVICE_CARDS, DeviceCard, device_card
from llmwidgets.records.roofline import Ceilings

CEILINGS = Ceilings("a desk", "float32", 1, 1e11, 2e10)
DESK = DeviceCard("a desk", {"float32": 1e11}, 2e10, 2**40, "a test", "2026-11")
STEPS = {"prompt_lengths": (3, 9), "batch_sizes": (1, 5), "context": 6}
LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}


def qwen2(**config):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 50}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    return Qwen2ForCausalLM(Qwen2Config(**sizes, **heads, **config)).float()


def engines(make_model):
    yield Engine(make_model("llama"))
    yield Engine(make_model("llama", tie_word_embeddings=True, attention_bias=True, mlp_bias=True))
    yield Engine(make_model("qwen3"))
    yield Engine(qwen2())


def test_planned_counts_equal_the_engines(make_model):
    for engine in engines(make_model):
        ran = engine.roofline(**STEPS, ceilings=CEILINGS)
        planned = model_roofline(engine.model.config.to_dict(), DESK, "float32", **STEPS)
        untimed = [replace(p, seconds=None, cpu_seconds=None, wall_seconds=None) for p in ran.points]
        assert list(planned.points) == untimed
        assert planned.parameter_bytes == ran.parameter_bytes
        assert planned.modelled


def test_the_bundled_model_is_planned_as_it_is():
    engine = load()
    ran = engine.roofline(**STEPS, ceilings=CEILINGS)
    assert bundled_folder("classics") is not None
    planned = model_roofline(engine.model.config.to_dict(), DESK, "float32", **STEPS)
    assert [p.flops for p in planned.points] == [p.flops for p in ran.points]
    assert [p.nbytes for p in planned.points] == [p.nbytes for p in ran.points]
    assert planned.parameter_bytes == 83_920_896


def test_llama_3_8b_has_the_parameters_and_the_cache_that_its_makers_name():
    sweep = model_roofline(LLAMA_3_8B, device_card("NVIDIA H100 SXM"), batch_sizes=(1, 2), context=100)
    assert sweep.parameter_bytes == 2 * 8_030_261_248
    one, two = sweep.phase("decode")
    assert two.kv_read_bytes - one.kv_read_bytes == 101 * 131_072
    assert sweep.predicted_seconds(one) == pytest.approx(one.nbytes / 3.35e12)


def test_another_dtype_on_another_device_keeps_the_flops_and_halves_the_bytes(engine):
    sweep = engine.roofline(**STEPS, ceilings=CEILINGS)
    there = sweep.on(device_card("Google TPU v5e"))
    assert [p.flops for p in there.points] == [p.flops for p in sweep.points]
    assert [2 * p.nbytes for p in there.points] == [p.nbytes for p in sweep.points]
    assert there.modelled
    assert there.ceilings.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": LLAMA_3_8B | {"model_type": "mixtral"}}, "model_type='mixtral' cannot be planned"),
        ({"config": {"model_type": "llama"}}, "the config has no 'hidden_size'"),
        ({"dtype": "float64"}, "dtype='float64' is not on the card of NVIDIA L4; there are 'bfloat16'"),
        ({"context": 200_000}, r"takes 42\.3 GB; NVIDIA L4 holds 24 GB"),
        ({"dtype": "int4"}, "dtype='int4' is not known"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes, message):
    asked = {"config": LLAMA_3_8B, "card": device_card("NVIDIA L4"), "batch_sizes": [1]} | changes
    with pytest.raises(ValueError, match=message):
        model_roofline(**asked)


def test_each_card_names_its_source_and_plausible_limits():
    for card in DEVICE_CARDS:
        assert device_card(card.name) is card
        assert card.source
        assert len(card.checked) == 7
        assert 1e14 < card.flops_per_second["bfloat16"] < 1e15
        assert card.flops_per_second["int8"] == pytest.approx(2 * card.flops_per_second["bfloat16"], rel=0.01)
        assert 1e11 < card.bytes_per_second < 1e13


def test_ridge_points_are_those_that_are_printed_everywhere():
    ridges = {card.name: card.flops_per_second["bfloat16"] / card.bytes_per_second for card in DEVICE_CARDS}
    assert int(ridges["Google TPU v5e"]) == 240  # Austin et al. 2025, How to Scale Your Model, part 7
    assert int(ridges["NVIDIA H100 SXM"]) == 295
    assert int(ridges["NVIDIA A100 SXM 80 GB"]) == 153


def test_an_unknown_card_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no device card 'H100'; there are 'NVIDIA H100 SXM'"):
        device_card("H100")
