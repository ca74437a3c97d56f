"""Tiny random models of families that turn queries and keys in different ways, and what they turned."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

SIZES = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
LAYER_TYPES = ["sliding_attention", "full_attention"]
# Name -> module of Transformers, class name, what differs from SIZES.
ROTARY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "Llama", {}),
    "llama3": ("llama", "Llama", {"rope_parameters": LLAMA3}),
    "qwen3": ("qwen3", "Qwen3", {}),  # norms before it turns
    "mistral_window": ("mistral", "Mistral", {"sliding_window": 8}),
    "gemma2": ("gemma2", "Gemma2", {"sliding_window": 8, "query_pre_attn_scalar": 16}),
    "gemma3": (
        "gemma3",
        "Gemma3",
        {"sliding_window": 8, "query_pre_attn_scalar": 16, "layer_types": LAYER_TYPES},
    ),  # two bases, by layer type
    "gpt_oss": (
        "gpt_oss",
        "GptOss",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "rope_parameters": YARN,
            "layer_types": LAYER_TYPES,
        },
    ),  # its own YaRN, with an attention factor
    "phi": ("phi", "Phi", {"partial_rotary_factor": 0.5}),
    "gpt_neox": ("gpt_neox", "GPTNeoX", {"partial_rotary_factor": 0.25}),
    "glm": ("glm", "Glm", {"partial_rotary_factor": 0.5}),  # interleaved and partial
    "cohere": ("cohere", "Cohere", {}),  # interleaved
    "smollm3": ("smollm3", "SmolLM3", {"no_rope_layers": [1, 0]}),  # the second layer does not turn
}


def rotary_model(name: str, seed: int = 0, **config: Any) -> Any:
    """Return a two-layer model with random weights, in float32."""
    module_name, class_name, differs = ROTARY[name]
    package = f"transformers.models.{module_name}"
    configs = importlib.import_module(f"{package}.configuration_{module_name}")
    made = getattr(configs, f"{class_name}TextConfig", None) or getattr(configs, f"{class_name}Config")
    models = importlib.import_module(f"{package}.modeling_{module_name}")
    torch.manual_seed(seed)
    return getattr(models, f"{class_name}ForCausalLM")(made(**(SIZES | differs | config))).float().eval()


@dataclass
class Turned:
    """One call of a model's own `apply_rotary_pos_emb`, batch of one taken off."""

    query: Tensor  # (H, T, D) or the turned part of D
    key: Tensor  # (H_kv, T, D)
    turned_query: Tensor
    turned_key: Tensor


def watch_rotary(monkeypatch: pytest.MonkeyPatch, model: Any) -> list[Turned]:
    """Let the model's own rotation note what it gets and returns; a call each layer that turns."""
    module = sys.modules[type(model).__module__]
    own, seen = module.apply_rotary_pos_emb, []

    def noting(q: Tensor, k: Tensor, *rest: Any, **named: Any) -> Any:
        turned = own(q, k, *rest, **named)
        seen.append(Turned(q[0].clone(), k[0].clone(), turned[0][0].clone(), turned[1][0].clone()))
        return turned

    monkeypatch.setattr(module, "apply_rotary_pos_emb", noting)
    return seen
