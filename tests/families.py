"""Model families in miniature: two layers, random weights, and which path of the engine runs them.

Add a family here, and the exactness tests and the README's table have it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import torch

SIZES: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # wide enough that greedy decoding does not repeat one token
    "tie_word_embeddings": False,  # tied, the greatest logit is often that of the token just read
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


@dataclass(frozen=True)
class Family:
    """How to build a model of a family, and what is special about its attention."""

    config: str
    """Its configuration class in Transformers, without `Config`."""
    special: str = ""
    differs: dict[str, Any] = field(default_factory=dict)
    """What its configuration has besides SIZES, or instead."""
    path: str = "packed"
    module: str = ""
    """Its module, where that is not the name in FAMILIES."""
    model: str = ""
    """Its model class, where that is not `config` with `ForCausalLM` behind it."""


MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
NARROW = {"sliding_window": 8}  # shorter than the prompts, so that a window left out changes tokens

FAMILIES: dict[str, Family] = {
    "llama": Family("Llama", "grouped queries, RoPE"),
    "mistral": Family("Mistral", "no window", {"sliding_window": None}),
    "mistral_window": Family("Mistral", "sliding window", NARROW, module="mistral"),
    "qwen2": Family("Qwen2", "biases on queries, keys and values"),
    "qwen3": Family("Qwen3", "normed queries and keys"),
    "qwen3_mixed": Family(
        "Qwen3",
        "full and sliding layers",
        NARROW | {"use_sliding_window": True, "max_window_layers": 1},
        module="qwen3",
    ),
    "qwen3_moe": Family("Qwen3Moe", "mixture of experts", MOE | {"num_experts": 4}),
    "qwen2_moe": Family(
        "Qwen2Moe",
        "mixture of experts, one of them shared",
        MOE | {"num_experts": 4, "shared_expert_intermediate_size": 32},
    ),
    "mixtral": Family("Mixtral", "mixture of experts", {"num_local_experts": 4, "sliding_window": None}),
    "deepseek_v3": Family(
        "DeepseekV3",
        "latent attention (MLA): keys and values differ in size; mixture of experts",
        MOE
        | {
            "num_key_value_heads": 4,
            "head_dim": 8,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 12,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
    ),
    "gpt_oss": Family(
        "GptOss",
        "attention sinks, full and sliding layers, mixture of experts",
        NARROW | {"num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": None},
    ),
    "gpt2": Family("GPT2", "learned positions", {"n_inner": 128}, model="GPT2LMHeadModel"),
    "gpt_bigcode": Family("GPTBigCode", "multi-query", {"n_inner": 128}),
    "gpt_neox": Family("GPTNeoX", "partial RoPE"),
    "opt": Family("OPT", "learned positions from 2 on", {"ffn_dim": 128, "init_std": 0.2}),
    "biogpt": Family("BioGpt", "learned positions from 2 on"),
    "gemma": Family("Gemma", "scaled embeddings"),
    "gemma2": Family(
        "Gemma2",
        "capped scores, full and sliding layers",
        NARROW | {"attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 16},
    ),
    "gemma3_text": Family(
        "Gemma3Text",
        "two kinds of RoPE, full and sliding layers",
        NARROW | {"layer_types": ["sliding_attention", "full_attention"]},
        module="gemma3",
        model="Gemma3ForCausalLM",
    ),
    "phi": Family("Phi", "partial RoPE"),
    "phi3": Family("Phi3", "queries, keys and values in one matrix"),
    "starcoder2": Family("Starcoder2", "sliding window", NARROW),
    "olmo2": Family("Olmo2", "normed after attention"),
    "olmoe": Family("Olmoe", "mixture of experts", {"num_experts": 4, "num_experts_per_tok": 2}),
    "cohere": Family("Cohere", "attention and MLP in parallel", {"logit_scale": 1.0}),
    "cohere2": Family(
        "Cohere2",
        "full layers without positions, sliding layers",
        NARROW | {"logit_scale": 1.0, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "stablelm": Family("StableLm", "partial RoPE"),
    "granite": Family("Granite", "its own scaling", {"attention_multiplier": 0.2}),
    "smollm3": Family("SmolLM3", "layers without positions", {"no_rope_layers": [1, 0]}),
    "glm4": Family("Glm4", "partial RoPE of neighbouring pairs"),
    "nemotron": Family("Nemotron", "partial RoPE"),
    "exaone4": Family("Exaone4", "full and sliding layers", NARROW | {"sliding_window_pattern": 2}),
    "ernie4_5": Family("Ernie4_5", "RoPE of neighbouring pairs"),
    "seed_oss": Family("SeedOss", "biases on queries, keys and values"),
    "gptj": Family("GPTJ", "partial RoPE", {"rotary_dim": 8, "n_inner": 128}, path="compatible"),
    "codegen": Family("CodeGen", "partial RoPE", {"rotary_dim": 8, "n_inner": 128}, path="compatible"),
    "gpt_neo": Family(
        "GPTNeo",
        "learned positions, full and local layers",
        {"attention_types": [[["global", "local"], 1]], "window_size": 8},
        path="compatible",
    ),
    "falcon": Family("Falcon", "multi-query, RoPE", path="compatible"),
    "falcon_alibi": Family(
        "Falcon",
        "multi-query off, ALiBi",
        {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
        path="compatible",
        module="falcon",
    ),
    "bloom": Family("Bloom", "ALiBi", path="compatible"),
    "mpt": Family("Mpt", "ALiBi", {"max_seq_len": 256}, path="compatible"),
    "xglm": Family("XGLM", "sine positions", {"ffn_dim": 128, "init_std": 0.2}, path="compatible"),
    "gpt_neox_japanese": Family(
        "GPTNeoXJapanese", "RoPE", {"intermediate_multiple_size": 2}, path="compatible"
    ),
    "llama4_text": Family(
        "Llama4Text",
        "attention in chunks",
        {
            "attention_chunk_size": 8,
            "intermediate_size_mlp": 64,
            "num_local_experts": 2,
            "moe_layers": [],
            "no_rope_layers": [1, 0],
        },
        path="compatible",
        module="llama4",
        model="Llama4ForCausalLM",
    ),
    "qwen2_moe_window": Family(
        "Qwen2Moe",
        "a window in the mask alone, mixture of experts",
        NARROW
        | MOE
        | {
            "num_experts": 4,
            "shared_expert_intermediate_size": 32,
            "use_sliding_window": True,
            "max_window_layers": 1,
        },
        path="compatible",
        module="qwen2_moe",
    ),
    "diffllama": Family("DiffLlama", "differences of two attention maps", path="compatible"),
    "doge": Family("Doge", "a mask made of values", path="compatible"),
}


def build_model(family: str = "llama", seed: int = 0, **config: Any) -> Any:
    """Return a two-layer model of a family with random weights, in float32."""
    wanted = FAMILIES[family]
    module = wanted.module or family
    package = f"transformers.models.{module}"
    configurations = importlib.import_module(f"{package}.configuration_{module}")
    models = importlib.import_module(f"{package}.modeling_{module}")
    config_class = getattr(configurations, f"{wanted.config}Config")
    model_class = getattr(models, wanted.model or f"{wanted.config}ForCausalLM")
    sizes = {name: size for name, size in SIZES.items() if not is_computed(config_class, name)}
    torch.manual_seed(seed)
    return model_class(config_class(**(sizes | wanted.differs | config))).float().eval()


def is_computed(config_class: type, name: str) -> bool:
    """Return whether a configuration computes a value itself and would refuse it."""
    return isinstance(getattr(config_class, name, None), property)


def table() -> str:
    """Return the README's table of families: what is tested, and which path runs it."""
    rows = [
        f"| {family.module or name} | {family.special} | {family.path} |" for name, family in FAMILIES.items()
    ]
    return "\n".join(["| family | what is special | path |", "|---|---|---|", *sorted(rows)])
