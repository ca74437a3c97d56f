"""Exercise 04.e2: bytes of keys and values for each token, from the numbers of a `config.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Config = dict[str, int]
NAMES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads")


def _config(layers: int, hidden_size: int, heads: int, kv_heads: int, head_dim: int | None = None) -> Config:
    made = dict(zip(NAMES, (layers, hidden_size, heads, kv_heads), strict=True))
    return made if head_dim is None else made | {"head_dim": head_dim}


# From the models' config.json on the Hugging Face Hub.
CONFIGS = {
    "Llama-2-7B": _config(32, 4096, 32, 32),
    "Llama-3-8B": _config(32, 4096, 32, 8),
    "Llama-3-70B": _config(80, 8192, 64, 8),
    "Qwen3-4B": _config(36, 2560, 32, 8, head_dim=128),
}

TASK = """Write `bytes_per_token(config, bytes_per_number)`: how many bytes one token takes in the KV cache.

`config` is a dict with these numbers of a model's `config.json`:

| | `num_hidden_layers` | `hidden_size` | `num_attention_heads` | `num_key_value_heads` | `head_dim` |
|---|---|---|---|---|---|
| Llama-2-7B | 32 | 4096 | 32 | 32 | |
| Llama-3-8B | 32 | 4096 | 32 | 8 | |
| Llama-3-70B | 80 | 8192 | 64 | 8 | |
| Qwen3-4B | 36 | 2560 | 32 | 8 | 128 |

`head_dim` is how many numbers a key has. Where it is not in the dict, all attention heads together have
`hidden_size` numbers. The check asks for the four with 2 bytes a number, then for the bundled model with 4,
and compares that with the arrays of a real cache."""

HINTS = (
    "How many numbers does one key of one head have? How many heads of keys are there in a layer, and what "
    "else is kept besides keys?",
    '`config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])` is the size of a key. '
    "Only KV heads are kept, so `num_attention_heads` is not needed for anything else.",
    "2 (keys and values) × layers × KV heads × head_dim × bytes_per_number.",
)


def bytes_per_token(config, bytes_per_number):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the bytes of one token's keys and values in all layers."""
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    return 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_dim * bytes_per_number


def judge(answer: Callable[..., Any]) -> Verdict:
    """Ask for four models, then for the bundled one, whose cache is there to be measured."""
    for name, config in reversed(CONFIGS.items()):  # from the one where no two mistakes give the same number
        given = answer(dict(config), 2)
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(given, name, config, 2)
        if verdict is not None:
            return verdict
    config, measured = measure()
    given = answer(config, 4)
    if given != measured:
        return wrong(
            f"The bundled model's cache takes {measured} bytes for a token in float32; you give {given}.",
            "Its numbers have 4 bytes: use bytes_per_number.",
        )
    numbers = ", ".join(f"{bytes_per_token(config, 2):,}" for config in CONFIGS.values())
    return right(f"{numbers} bytes in 16 bits; the bundled model's real cache takes {measured:,} in 32")


def measure() -> tuple[Config, int]:
    """Return the bundled model's numbers, and the bytes of a token in the cache that Transformers makes."""
    import torch

    from llmwidgets.engine import load  # slow to load, and needed only once an answer is checked

    model = load().model
    with torch.inference_mode():
        cache = model(input_ids=torch.tensor([[0, 1, 2, 3]])).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    return {name: getattr(model.config, name) for name in (*NAMES, "head_dim")}, held // 4


def _compare(given: Any, name: str, config: Config, size: int) -> Verdict | None:
    number = np.asarray(given)
    if number.size != 1 or number.dtype.kind not in "fiu":
        return wrong(f"For {name} you give {str(given)[:40]!r}.", "Return one number, in bytes.")
    value, expected = float(number.reshape(-1)[0]), bytes_per_token(config, size)
    if value == expected:
        return None
    layers, width, heads, kv_heads = (config[name] for name in NAMES)
    derived = width // heads
    head_dim = config.get("head_dim", derived)
    each = 2 * layers * size
    mistakes = (
        (expected / 2, "This is half: keys and values are both kept, and a number takes bytes_per_number."),
        (expected / layers, "Every layer keeps its own keys and values: this is one layer."),
        (expected * 8, "These are bits."),
        (each * heads * head_dim, "Query heads share KV heads, and only num_key_value_heads are kept."),
        (each * kv_heads * derived, "The dict says head_dim; here it is not hidden_size / heads."),
        (each * width, "hidden_size is of all attention heads together; only KV heads are kept."),
        (each * kv_heads * width, "hidden_size is of all attention heads: divide by their number."),
        (each * head_dim, "This is one KV head: there are num_key_value_heads."),
    )
    said = f"For {name} you give {value:,.0f} bytes."
    for wrong_value, reason in mistakes:
        if value == wrong_value:
            return wrong(said, reason)
    return wrong(said, "Multiply five numbers: 2, layers, KV heads, numbers of a key, bytes of a number.")


EXERCISE = Exercise("04.e2", "Bytes for each token", 10, TASK, HINTS, bytes_per_token, judge)
