"""Exercise 04.e1: a KV cache in NumPy, held against a formula and then against a real model."""

# mypy: disable-error-code="no-untyped-def, attr-defined"
# Its class is shown to learners, who write no types.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Array = NDArray[Any]
PROMPT = "Alice was beginning to get very tired of sitting by her sister"
NEW_TOKENS = 12

TASK = """Write the class `KVCache`, which keeps the keys and values of all tokens so far in NumPy arrays.

- `KVCache(num_layers)` begins empty.
- `append(layer, keys, values)` adds a layer's new tokens **behind** those that are there. Both arrays have
  the shape `(H_kv, N, D)`: KV heads, new tokens, numbers. The prompt comes first, then one token at a time.
- `get(layer)` returns two arrays, `(keys, values)` of all tokens so far, each of shape `(H_kv, S, D)`.
- `nbytes()` returns how many bytes all keys and values take, of all layers together.

The check asks for both arrays and for the bytes after each `append`, in five shapes. Then the bundled model
runs with your cache, and its ids are compared with those of `engine.generate`."""

HINTS = (
    "`np.concatenate([old, new], axis=...)` puts two arrays behind each other. Which axis counts tokens?",
    "Axis 1 counts tokens. `self.keys` and `self.values` have an entry for each layer; the first `append` of "
    "a layer has nothing to stand behind.",
    "`append`: `if self.keys[layer] is not None: keys = np.concatenate([self.keys[layer], keys], axis=1)`, "
    "the same for values, then store both. `nbytes` adds up `array.nbytes` of both lists.",
)


class KVCache:
    """Keys and values of all tokens so far, layer by layer."""

    def __init__(self, num_layers):
        self.keys = [None] * num_layers
        self.values = [None] * num_layers

    def append(self, layer, keys, values):
        """Add new tokens behind those that are there."""
        if self.keys[layer] is not None:
            keys = np.concatenate([self.keys[layer], keys], axis=1)
            values = np.concatenate([self.values[layer], values], axis=1)
        self.keys[layer], self.values[layer] = keys, values

    def get(self, layer):
        """Return keys and values of all tokens so far."""
        return self.keys[layer], self.values[layer]

    def nbytes(self):
        """Return the bytes of everything that is kept."""
        return sum(array.nbytes for array in [*self.keys, *self.values] if array is not None)


class Shape(NamedTuple):
    """A model's cache, and how many tokens each `append` brings."""

    num_layers: int
    num_kv_heads: int
    head_size: int
    dtype: str
    new_tokens: tuple[int, ...]


SHAPES = (
    Shape(5, 3, 4, "float32", (3, 3, 3)),  # the same size each time: whichever axis grows, nothing raises
    Shape(8, 4, 64, "float32", (14, 1, 1)),
    Shape(1, 1, 16, "float16", (5, 1)),
    Shape(3, 8, 32, "float16", (7, 3, 1)),
    Shape(2, 2, 128, "float64", (2, 2, 2, 2)),
)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Fill caches of five shapes, then let the bundled model run with one."""
    for shape in SHAPES:
        cache = answer(shape.num_layers)
        if cache is None or cache is ...:
            return not_attempted()
        verdict = _fill(cache, shape)
        if verdict is not None:
            return verdict
    return _generate(answer)


def _fill(cache: Any, shape: Shape) -> Verdict | None:
    draw = np.random.default_rng(0)
    pieces: list[list[Array]] = [[] for _ in range(2 * shape.num_layers)]  # keys, values of each layer
    for count in shape.new_tokens:
        for layer in range(shape.num_layers):
            size = (shape.num_kv_heads, count, shape.head_size)
            keys, values = (draw.normal(size=size).astype(shape.dtype) for _ in range(2))
            cache.append(layer, keys.copy(), values.copy())
            pieces[2 * layer].append(keys)
            pieces[2 * layer + 1].append(values)
        whole = [np.concatenate(kept, axis=1) for kept in pieces]
        for layer in range(shape.num_layers):
            verdict = _compare(cache.get(layer), layer, pieces, whole)
            if verdict is not None:
                return verdict
        verdict = _bytes(cache.nbytes(), shape, whole[0].shape[1])
        if verdict is not None:
            return verdict
    return None


def _compare(given: Any, layer: int, pieces: list[list[Array]], whole: list[Array]) -> Verdict | None:
    if given is None or given is ...:
        return not_attempted()
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return wrong("get returns no pair.", "Return two arrays: `return keys, values`.")
    for place, name in ((2 * layer, "keys"), (2 * layer + 1, "values")):
        array, kept, expected = np.asarray(given[place % 2]), pieces[place], whole[place]
        same = np.array_equal(array, expected)
        if same and array.dtype == expected.dtype:
            continue
        said = f"After {len(kept)} times append, get({layer}) returns {name} of shape {array.shape}"
        if same:
            return wrong(
                f"{said} as {array.dtype}.", f"They came as {expected.dtype}: keep them as they are."
            )
        for others, message, next_step in _mistakes(kept, whole, layer):
            if any(np.array_equal(array, other) for other in others):
                return wrong(f"{said}: {message}", next_step)
        return wrong(f"{said}, not what was appended.", f"Their shape should be {expected.shape}.")
    return None


def _mistakes(kept: list[Array], whole: list[Array], layer: int) -> list[tuple[list[Array], str, str]]:
    """Return the arrays that each mistake gives, what is wrong with them, and what to do."""
    again = len(kept) > 1
    axes = (0, 2) if again and len({array.shape for array in kept}) == 1 else ()
    return [
        (kept[-1:] * again, "the newest tokens only.", "Put old and new behind each other."),
        ([np.concatenate(kept[::-1], axis=1)], "the newest tokens stand in front.", "Old ones come first."),
        (
            [np.concatenate(kept, axis=axis) for axis in axes],
            "there are more heads or numbers than before, not more tokens.",
            "The axes are heads, tokens, numbers: tokens are axis 1.",
        ),
        (whole[2 * layer :][:2], "they are the other of keys and values.", "Return keys first, then values."),
        (whole, "they belong to another layer.", "Each layer has keys and values of its own: keep a list."),
    ]


def _bytes(given: Any, shape: Shape, num_tokens: int) -> Verdict | None:
    if given is None or given is ...:
        return not_attempted()
    number = np.dtype(shape.dtype).itemsize
    expected = 2 * shape.num_layers * shape.num_kv_heads * shape.head_size * number * num_tokens
    if given == expected:
        return None
    said = (
        f"{shape.num_layers} layers hold {num_tokens} tokens, and nbytes() returns {given}, not {expected}."
    )
    mistakes = (
        (expected // 2, "This is one of keys and values: both are kept."),
        (expected // shape.num_layers, "This is one layer: every layer keeps its own."),
        (expected // number, f"These are numbers, not bytes: a {shape.dtype} takes {number}."),
        (expected // num_tokens, "This is one token: all that were appended are kept."),
    )
    reasons = [reason for value, reason in mistakes if given == value]
    return wrong(said, reasons[0] if reasons else "Add up `array.nbytes` of all arrays that you keep.")


def _generate(answer: Callable[..., Any]) -> Verdict:
    from llmwidgets.engine import load  # slow to load, and needed only once the arrays are right
    from llmwidgets.lab.exercises.learner_cache import generate

    engine = load()
    whole = engine.generate(PROMPT, max_tokens=NEW_TOKENS, ignore_eos=True)
    cache = answer(len(engine.layers))
    given = generate(engine.model, cache, list(whole.prompt_token_ids), NEW_TOKENS)
    if given != list(whole.token_ids):
        return wrong(
            "With your cache the bundled model gives other ids than engine.generate.",
            "Does get return what was appended, and nothing that changes afterwards?",
        )
    return right(
        f"{len(SHAPES)} of {len(SHAPES)} shapes; with your cache the bundled model gives {NEW_TOKENS} of "
        f"{NEW_TOKENS} ids of engine.generate, and keeps {cache.nbytes():,} bytes"
    )


EXERCISE = Exercise("04.e1", "A cache", 15, TASK, HINTS, KVCache, judge)
