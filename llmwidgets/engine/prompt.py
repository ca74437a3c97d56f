"""What a caller may ask, checked before any work: prompts, lengths, layers, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

Prompt = str | Sequence[int]


def encode(engine: Engine, prompt: Prompt, max_tokens: int = 0) -> list[int]:
    """Return the prompt's token ids.

    Args:
        engine: whose tokenizer and limits hold.
        prompt: text, with the special tokens that the tokenizer's post-processor adds, or ids as given.
        max_tokens: new tokens that must fit behind it.

    Raises:
        ValueError: if it is empty, not of this vocabulary, or too long.
    """
    if isinstance(prompt, str):
        if engine.tokenizer is None:
            raise ValueError(
                f"prompt={prompt[:40]!r} is text, but this engine has no tokenizer; give token ids"
            )
        if not prompt:
            raise ValueError(
                "prompt='' is empty; allowed is text or a list of token ids with at least one token"
            )
        token_ids = list(engine.tokenizer(prompt)["input_ids"])
    else:
        token_ids = _ids(prompt)
    if not token_ids:
        raise ValueError("prompt has no tokens; at least one is needed")
    outside = [token for token in token_ids if not 0 <= token < engine.vocab_size]
    if outside:
        raise ValueError(f"prompt has the token id {outside[0]}; allowed are 0 to {engine.vocab_size - 1}")
    if len(token_ids) + max_tokens > engine.max_model_len:
        behind = f" and max_tokens={max_tokens}" if max_tokens else ""
        raise ValueError(
            f"prompt has {len(token_ids)} tokens{behind}; together at most "
            f"max_model_len={engine.max_model_len} are allowed "
            "(a longer context: max_model_len= of lw.load or lw.Engine)"
        )
    return token_ids


def one_token(engine: Engine, token: str | int) -> int:
    """Return the id of a token given as its id or its text.

    Raises:
        ValueError: if it is not of this vocabulary, or the text is not one token.
    """
    if isinstance(token, str):
        if engine.tokenizer is None:
            raise ValueError(f"token={token!r} is text, but this engine has no tokenizer; give a token id")
        ids = engine.tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ValueError(f"token={token!r} is {len(ids)} tokens; allowed is text that is exactly one")
        return int(ids[0])
    (token_id,) = _ids([token])
    if not 0 <= token_id < engine.vocab_size:
        raise ValueError(f"token={token_id} is not allowed; allowed are ids 0 to {engine.vocab_size - 1}")
    return token_id


def some_of(name: str, wanted: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Return `wanted` ascending and once each; None means all of `count`.

    Raises:
        ValueError: if one is not there, or none is wanted.
    """
    if wanted is None:
        return tuple(range(count))
    numbers = _ids([wanted] if isinstance(wanted, (int, np.integer)) else wanted, name)
    if not numbers or not all(0 <= number < count for number in numbers):
        raise ValueError(f"{name}={wanted!r} is not allowed; allowed are some of 0 to {count - 1}")
    return tuple(sorted(set(numbers)))


def _ids(values: object, name: str = "prompt") -> list[int]:
    """Return integers as Python's own.

    Raises:
        ValueError: if they are not a one-dimensional sequence of integers.
    """
    array = np.asarray(values) if not isinstance(values, (str, bytes)) else np.empty(0, object)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name}={str(values)[:60]!r} is not allowed; allowed is a list of integers")
    return [int(value) for value in array]
