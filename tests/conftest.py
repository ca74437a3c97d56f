"""Models and a tokenizer that need no download: two layers of random weights, and one token a byte."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from llmwidgets.engine import Engine

BEGIN, END = 256, 257
SIZES = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # wide enough that greedy decoding does not repeat one token
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
# Family -> module of Transformers, class name, what differs from SIZES.
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "Llama", {}),
    "qwen3": ("qwen3", "Qwen3", {}),
    "gpt2": ("gpt2", "GPT2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "n_inner": 128}),
    "gemma2": (
        "gemma2",
        "Gemma2",
        {"sliding_window": 8, "attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 16},
    ),
    "mistral_window": ("mistral", "Mistral", {"sliding_window": 8}),
    "qwen3_mixed": (
        "qwen3",
        "Qwen3",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "gpt_oss": (
        "gpt_oss",
        "GptOss",
        {"sliding_window": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": None},
    ),
    # These bypass Transformers' attention interface.
    "gptj": ("gptj", "GPTJ", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 256}),
    "bloom": ("bloom", "Bloom", {"n_layer": 2, "n_head": 4}),
}

# The full GPT-2 alphabet: one printable letter for each byte, in the order of the bytes.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {b: chr(256 + i) for i, b in enumerate(_OTHERS)}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tiny matrices: more threads only wait for each other


def build_model(family: str = "llama", seed: int = 0, **config: Any) -> Any:
    """Return a two-layer model of a family with random weights, in float32."""
    module_name, class_name, differs = FAMILIES[family]
    package = f"transformers.models.{module_name}"
    config_class = getattr(
        importlib.import_module(f"{package}.configuration_{module_name}"), f"{class_name}Config"
    )
    suffix = "LMHeadModel" if class_name == "GPT2" else "ForCausalLM"
    model_class = getattr(importlib.import_module(f"{package}.modeling_{module_name}"), class_name + suffix)
    torch.manual_seed(seed)
    return model_class(config_class(**(SIZES | differs | config))).float().eval()


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose token b is the byte b; a text begins with the token 256."""
    letters = {LETTERS[byte]: byte for byte in range(256)}
    backend = Tokenizer(models.BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|begin|>", "<|end|>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", BEGIN)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|begin|>", eos_token="<|end|>")


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    return build_model


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def engine(tokenizer: PreTrainedTokenizerFast) -> Engine:
    """A tiny random Llama over bytes: grouped queries, two layers, 256 tokens of context."""
    return Engine(build_model("llama"), tokenizer)
