"""Exported checkpoints in plain Transformers: the logits of the quantized engine."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmwidgets.engine import load
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.kv_cache import KVCache
from tests.engine.quantization.conftest import TOKENS

KNOBS = [
    {"method": "rtn"},
    {"method": "rtn", "bits": 2, "group_size": 32},
    {"method": "rtn", "bits": 3, "group_size": -1, "symmetric": False},
    {"method": "rtn", "bits": 8, "layers": "layers.*.mlp.*"},
    {"method": "gptq", "bits": 3, "group_size": 32, "act_order": True, "calibration": TOKENS},
    {"method": "gptq", "bits": 4, "symmetric": False, "calibration": TOKENS},
    {"method": "awq", "bits": 3, "group_size": 32, "calibration": TOKENS},
    {"method": "awq", "bits": 4, "symmetric": False, "calibration": TOKENS},
]


@pytest.mark.parametrize("heads", ["engine", "mha_engine"])
@pytest.mark.parametrize("knobs", KNOBS, ids=lambda knobs: f"{knobs['method']}{knobs.get('bits', '')}")
def test_plain_transformers_computes_the_same(request, tmp_path, heads, knobs):
    quantized = request.getfixturevalue(heads).quantize(**knobs)
    folder = quantized.export(tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = TOKENS[:70]
    with torch.inference_mode():
        expected = theirs(torch.tensor([ids]), use_cache=False).logits[0]
    assert float((quantized.forward.plain(ids) - expected).abs().max()) <= 1e-5
    chunks = [Chunk(ids[:33], 0, slice(0, 33), 33), Chunk(ids[33:], 33, slice(0, 70), 37)]
    cache, forward = KVCache(5, 16), quantized.forward
    paged = torch.cat([forward.run(forward.prepare([chunk], cache)) for chunk in chunks])
    assert float((paged - expected).abs().max()) <= 5e-5


def test_the_bundled_model_goes_out_and_comes_back(tmp_path):
    quantized = load("draft").quantize("rtn", 4)
    folder = quantized.export(tmp_path / "draft-rtn")
    text = "It was a dark and stormy night; the rain fell in torrents."
    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert ids == quantized.tokenizer(text)["input_ids"]
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = theirs(torch.tensor([ids]), use_cache=False).logits[0]
    assert float((quantized.forward.plain(ids) - expected).abs().max()) <= 1e-5
    loaded = load(folder)
    assert loaded.generate(text, max_tokens=12).token_ids == quantized.generate(text, max_tokens=12).token_ids
    with pytest.raises(ValueError, match="is a quantized checkpoint"):
        loaded.quantize("rtn")


def test_the_files_hold_packed_words(engine, tmp_path):
    quantized = engine.quantize("awq", 3, 32, symmetric=False, calibration=TOKENS)
    folder = quantized.export(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    assert tensors[f"{name}.weight_shape"].tolist() == [128, 64]
    assert tensors[f"{name}.weight_packed"].shape == (128, 6)
    assert tensors[f"{name}.weight_scale"].shape == (128, 2)
    assert tensors[f"{name}.weight_zero_point"].shape == (12, 2)
    assert f"{name}.weight" not in tensors
    held = sum(t.nbytes for n, t in tensors.items() if ".weight_" in n and not n.endswith("shape"))
    assert held == quantized.quantization.nbytes
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    weights = config["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["group_size"], weights["symmetric"]) == (3, 32, False)
    assert config["ignore"] == ["lm_head"]


def test_what_cannot_be_exported_is_refused(engine, tmp_path):
    with pytest.raises(ValueError, match="allowed are 'rtn', 'gptq', 'awq'"):
        engine.quantize("nf4").export(tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a")
    with pytest.raises(ValueError, match="is not empty"):
        engine.quantize("rtn").export(tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_an_interrupt_leaves_no_half_checkpoint(engine, tmp_path, monkeypatch):
    quantized = engine.quantize("rtn")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("llmwidgets.engine.quantization.export._write_config", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quantized.export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
