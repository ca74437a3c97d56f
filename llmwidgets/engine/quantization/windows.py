"""A text cut into pieces that a model runs one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmwidgets.engine.prompt import Prompt
from llmwidgets.engine.rotate_plan import begin_token_ids

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine


def consecutive_windows(
    engine: Engine, text: Prompt, size: int, argument: str, with_rest: bool = False
) -> list[list[int]]:
    """Return pieces of a text one after the other, each behind the tokenizer's begin tokens.

    Args:
        engine: whose tokenizer and vocabulary hold.
        text: text, or token ids, which get nothing put before them.
        size: tokens of a window, the begin tokens included.
        argument: what the caller calls the text, for the message.
        with_rest: whether the last piece may be shorter.

    Raises:
        ValueError: for text without a tokenizer, ids not of this vocabulary, or less than one window.
    """
    if isinstance(text, str):
        if engine.tokenizer is None:
            raise ValueError(
                f"{argument}={text[:40]!r} is text, but this engine has no tokenizer; give token ids"
            )
        begin = begin_token_ids(engine)
        token_ids = list(engine.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    else:
        begin, token_ids = [], _checked(engine, text, argument)
    step = size - len(begin)
    least = max(1, 2 - len(begin)) if with_rest else step  # a window predicts at least one token
    if len(token_ids) < least:
        raise ValueError(
            f"{argument} has {len(token_ids)} tokens; at least {least} are needed, which is one window"
        )
    pieces = [token_ids[start : start + step] for start in range(0, len(token_ids), step)]
    return [[*begin, *piece] for piece in pieces if len(piece) >= least]


def _checked(engine: Engine, token_ids: object, argument: str) -> list[int]:
    """Return token ids of any length that are of the vocabulary."""
    try:
        ids = [int(token) for token in token_ids]  # type: ignore[attr-defined]  # what is not iterable raises
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{argument}={str(token_ids)[:60]!r} is not allowed; allowed is text or a list of token ids"
        ) from error
    outside = [token for token in ids if not 0 <= token < engine.vocab_size]
    if outside:
        raise ValueError(
            f"{argument} has the token id {outside[0]}; allowed are 0 to {engine.vocab_size - 1}"
        )
    return ids
