import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

MODELS = Path(__file__).resolve().parents[2] / "llmwidgets" / "models"
FOLDERS = {"target": MODELS / "classics", "draft": MODELS / "classics-draft"}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(FOLDERS["target"] / "tokenizer.json"))


@pytest.fixture(scope="module")
def auto_tokenizer():
    return AutoTokenizer.from_pretrained(FOLDERS["target"])


@pytest.fixture(scope="module")
def target():
    return AutoModelForCausalLM.from_pretrained(FOLDERS["target"], dtype=torch.float32).eval()


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [("target", (8, 512, 8, 4, 64, 1024), 20_980_224), ("draft", (2, 256, 4, 2, 64, 704), 2_524_416)],
)
def test_shapes(name, shape, parameters):
    model = AutoModelForCausalLM.from_pretrained(FOLDERS[name])
    c = model.config
    assert type(model).__name__ == "LlamaForCausalLM"
    found = (c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.num_key_value_heads, c.head_dim)
    assert (*found, c.intermediate_size) == shape
    assert (c.vocab_size, c.max_position_embeddings) == (4096, 1024)
    assert c.rope_parameters["rope_theta"] == 10_000
    assert (c.bos_token_id, c.eos_token_id, c.pad_token_id) == (0, 0, 0)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", FOLDERS)
def test_files(name):
    expected = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {path.name for path in FOLDERS[name].iterdir()} == expected
    with safe_open(FOLDERS[name] / "model.safetensors", "pt") as tensors:
        assert {tensors.get_slice(key).get_dtype() for key in tensors.keys()} == {"BF16"}  # noqa: SIM118
    generation = json.loads((FOLDERS[name] / "generation_config.json").read_text())
    assert generation["eos_token_id"] == 0


def test_sizes():
    sizes = [path.stat().st_size for folder in FOLDERS.values() for path in folder.iterdir()]
    assert sum(sizes) <= 50e6
    assert sum(path.stat().st_size for path in (MODELS / "text").iterdir()) <= 300_000


def test_both_models_share_the_tokenizer():
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (FOLDERS["target"] / file).read_bytes() == (FOLDERS["draft"] / file).read_bytes()


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80))
def test_any_text_comes_back_and_begins_with_the_begin_token(tokenizer, auto_tokenizer, text):
    ids = tokenizer.encode(text).ids
    assert ids[0] == 0
    assert max(ids) < 4096
    if "<|endoftext|>" not in text:
        assert 0 not in ids[1:]
        assert tokenizer.decode(ids) == text
    assert auto_tokenizer(text).input_ids == ids


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40))
def test_any_bytes_come_back(tokenizer, data):
    text = data.decode("latin-1")
    assert tokenizer.decode(tokenizer.encode(text).ids).encode("latin-1") == data


def test_the_vocabulary_holds_every_byte_and_indentation(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) == 4096
    assert vocabulary["<|endoftext|>"] == 0
    assert sum(len(entry) == 1 for entry in vocabulary) == 256
    for indentation in ("Ċ" + "Ġ" * 3, "Ċ" + "Ġ" * 7, "Ċ" + "Ġ" * 11):
        assert indentation in vocabulary


def test_special_tokens(auto_tokenizer):
    ids = (auto_tokenizer.bos_token_id, auto_tokenizer.eos_token_id, auto_tokenizer.pad_token_id)
    assert ids == (0, 0, 0)
    assert auto_tokenizer.model_max_length == 1024


def test_a_greedy_sample_is_deterministic_and_varied(target, auto_tokenizer):
    batch = auto_tokenizer("It was a dark", return_tensors="pt")
    one, two = (target.generate(**batch, max_new_tokens=40, do_sample=False)[0] for _ in range(2))
    assert torch.equal(one, two)
    assert len(set(one[batch.input_ids.shape[1] :].tolist())) >= 12


def test_a_seeded_sample_is_deterministic(target, auto_tokenizer):
    batch = auto_tokenizer("Once upon a time", return_tensors="pt")
    texts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        texts.append(target.generate(**batch, max_new_tokens=24, do_sample=True, top_k=0)[0].tolist())
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_the_shipped_target_reads_the_excerpts_and_its_exits_improve(target, tokenizer):
    from tools.training.corpus import Document
    from tools.training.evaluate import evaluate, held_out_windows

    draft = AutoModelForCausalLM.from_pretrained(FOLDERS["draft"], dtype=torch.float32).eval()
    for kind, bound, draft_bound in (("books", 1.38, 1.54), ("python", 1.1, 1.35)):
        text = (MODELS / "text" / f"evaluation_{kind}.txt").read_text(encoding="utf-8")
        assert len(tokenizer.encode(text).ids) >= 8_000
        windows = held_out_windows(tokenizer, [Document(kind, text)]).sample(2)
        figures = evaluate(target, windows, draft)
        assert figures.target <= bound
        assert figures.draft <= draft_bound
        assert figures.overlap >= 0.63
        bits = list(figures.exits.values())
        assert bits == sorted(bits, reverse=True)


def test_the_card_says_what_the_figures_say():
    from tools.training.card import read_figures

    card = (MODELS / "README.md").read_text(encoding="utf-8")
    recorded = read_figures(MODELS)
    for kind, digest in recorded.hashes.items():
        assert digest in card
        figures = recorded.shipped[kind]
        for value in (figures.target, figures.draft, figures.overlap, *figures.exits.values()):
            assert f"{value:.4f}" in card
