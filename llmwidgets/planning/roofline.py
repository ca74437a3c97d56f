"""`model_roofline`: prefill and decode steps of any dense model on a device's datasheet. Nothing runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmwidgets.records.device_card import DeviceCard
from llmwidgets.records.roofline import Ceilings, Phase, RooflinePoint, RooflineSweep, bytes_per_number

_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True)
class DenseModel:
    """What a step costs by a `config.json`, in numbers of parameters and of KV cache."""

    num_layers: int
    num_heads: int
    head_size: int
    kv_numbers: int
    """Of one token's keys and values in one layer."""
    matrix_numbers: int
    """Of one layer's matrices."""
    vector_numbers: int
    """Of norms and biases, of all layers and the last norm."""
    embedding_numbers: int
    """Of the embedding, and of the output head alike."""
    hidden_size: int
    tied: bool
    """Whether embedding and output head are one matrix."""


def read_config(config: Mapping[str, Any]) -> DenseModel:
    """Return what a `config.json` says of a dense decoder of the Llama, Mistral, Qwen2 or Qwen3 family.

    Raises:
        ValueError: for another family, or an entry that is missing.
    """
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise ValueError(f"model_type={family!r} cannot be planned; allowed are {', '.join(_FAMILIES)}")
    try:
        hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        heads, inner = int(config["num_attention_heads"]), int(config["intermediate_size"])
        vocab = int(config["vocab_size"])
    except KeyError as error:
        raise ValueError(f"the config has no {error.args[0]!r}") from error
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_size = int(config.get("head_dim") or hidden // heads)
    queries, keys = heads * head_size, kv_heads * head_size
    matrices = hidden * (queries + 2 * keys) + queries * hidden + 3 * hidden * inner
    vectors = 2 * hidden  # the norms before attention and before the MLP
    if family == "qwen2":
        vectors += queries + 2 * keys
    elif config.get("attention_bias"):
        vectors += queries + 2 * keys + hidden
    if config.get("mlp_bias"):
        vectors += 2 * inner + hidden
    if family == "qwen3":
        vectors += 2 * head_size  # norms of queries and keys
    return DenseModel(
        num_layers=layers,
        num_heads=heads,
        head_size=head_size,
        kv_numbers=2 * keys,
        matrix_numbers=matrices,
        vector_numbers=layers * vectors + hidden,
        embedding_numbers=vocab * hidden,
        hidden_size=hidden,
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def model_roofline(
    config: Mapping[str, Any],
    card: DeviceCard,
    dtype: str = "bfloat16",
    prompt_lengths: Sequence[int] = (16, 64, 256),
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
    context: int = 128,
    name: str = "the model",
) -> RooflineSweep:
    """Return the steps that `Engine.roofline` would run, counted from a config and bounded by a datasheet.

    Args:
        config: the entries of a `config.json`; full attention is assumed in all layers.
        card: the device.
        dtype: of weights, cache and arithmetic.
        prompt_lengths: tokens of each prefill of one sequence.
        batch_sizes: sequences of each decode step, one new token each.
        context: tokens that each sequence of a decode step has in the cache.
        name: what to call the model.

    Raises:
        ValueError: for a config that cannot be read, a dtype that the card does not have, or a step that does
            not fit into its memory.
    """
    model = read_config(config)
    of_dtype = bytes_per_number(dtype)
    points = [_point(model, of_dtype, "prefill", 1, length, 0) for length in prompt_lengths]
    points += [_point(model, of_dtype, "decode", batch, 1, context) for batch in batch_sizes]
    # The sweep of a machine without limits, put on the card: `on` checks dtype and memory.
    anywhere = Ceilings("", dtype, None, float("inf"), float("inf"))
    embeddings = model.embedding_numbers * (1 if model.tied else 2)
    numbers = model.num_layers * model.matrix_numbers + model.vector_numbers + embeddings
    return RooflineSweep(name, anywhere, tuple(points), numbers * of_dtype).on(card, dtype)


def _point(
    model: DenseModel, of_dtype: int, phase: Phase, batch: int, new: int, context: int
) -> RooflinePoint:
    """Return one step: `batch` sequences that add `new` tokens each to `context` tokens in the cache."""
    rows = batch * new
    head = model.embedding_numbers
    read_once = model.num_layers * model.matrix_numbers + model.vector_numbers + head
    kv_bytes = model.num_layers * model.kv_numbers * of_dtype
    seen = context + new
    return RooflinePoint(
        phase=phase,
        batch_size=batch,
        num_tokens=rows,
        context=context,
        linear_flops=2 * (rows * model.num_layers * model.matrix_numbers + batch * head),
        attention_flops=batch * model.num_layers * 4 * model.num_heads * new * seen * model.head_size,
        weight_bytes=(read_once + rows * model.hidden_size) * of_dtype,
        kv_read_bytes=batch * seen * kv_bytes,
        kv_written_bytes=rows * kv_bytes,
    )
