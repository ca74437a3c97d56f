"""Exercise 04.e4: a batch as a rectangle, padded on the left, with positions that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Rows = NDArray[np.int64]
PROMPTS = (
    "Alice was beginning to get very tired of sitting by her sister",
    "It was a dark",
    "The ship struck the rocks, and",
)
NEW_TOKENS = 12

TASK = """Three prompts of different lengths go through the model as one rectangle.
`left_pad(prompts, pad_id)` puts padding **in front** of the shorter ones, so that all end in the last column,
where the next token is read. It returns three arrays, with a row for each prompt and as many columns as the
longest has tokens:

- `token_ids`, with `pad_id` in front;
- `mask`: 1 for a token, 0 for padding, which nobody may look at;
- `positions`: where each token stands **in its own prompt**. Those of padding do not matter; 0 will do.

New token number `i` of a prompt of `n` tokens is later run at position `n + i`, as engines do.

The version in the next cell raises no error, and its texts even look like English. But two of the three
prompts do not get the text that they get alone. Mend it.

The check runs the bundled model on the rectangle and compares ids with `engine.generate`, one by one."""

HINTS = (
    "Print the three arrays for `[[5, 6, 7], [8]]`. At which position does token 8 stand, and at which will "
    "its first new token?",
    "`mask` knows where a prompt begins. `np.cumsum(mask, axis=1)` counts the tokens of each row from the "
    "left.",
    "`positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)`: the first token stands at 0.",
)


def left_pad(prompts, pad_id):  # type: ignore[no-untyped-def]  # shown to learners
    """Return token ids, mask and positions of a batch with padding in front."""
    width = max(len(prompt) for prompt in prompts)
    token_ids = np.full((len(prompts), width), pad_id)
    mask = np.zeros((len(prompts), width), dtype=int)
    for row, prompt in enumerate(prompts):
        token_ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    return token_ids, mask, positions


def as_given(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Rows, Rows, Rows]:
    """Return what the lab's version does, bug included."""
    token_ids, mask, _ = left_pad(prompts, pad_id)
    return token_ids, mask, np.tile(np.arange(mask.shape[1]), (len(prompts), 1))


def judge(answer: Callable[..., Any]) -> Verdict:
    """Look at the three arrays, then run the bundled model on them."""
    from llmwidgets.engine import load  # slow to load, and needed only once an answer is checked

    engine = load()
    prompts = [[int(token) for token in engine.tokenizer(text)["input_ids"]] for text in PROMPTS]
    pad_id = 7  # a token like any other: only the mask tells padding
    given = answer([list(prompt) for prompt in prompts], pad_id)
    if given is None or given is ...:
        return not_attempted()
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        return wrong("left_pad returns no three arrays.", "`return token_ids, mask, positions`.")
    batch = [np.asarray(array) for array in given]
    if all(
        np.array_equal(array, other) for array, other in zip(batch, as_given(prompts, pad_id), strict=True)
    ):
        return not_attempted()
    verdict = _rectangle(batch, prompts, pad_id) or _positions(batch[2], prompts)
    if verdict is not None:
        return verdict
    rows = generate(engine.model, *batch)
    for number, (prompt, ids) in enumerate(zip(prompts, rows, strict=True), start=1):
        alone = engine.generate(prompt, max_tokens=NEW_TOKENS, ignore_eos=True).token_ids
        if ids != list(alone):
            return wrong(
                f"Prompt {number} of the batch gets other ids than alone.",
                "Its row must hold the same tokens, at the same positions, and see no padding.",
            )
    return right(f"each of {len(PROMPTS)} prompts gets the {NEW_TOKENS} ids that it gets alone")


def generate(model: Any, token_ids: Rows, mask: Rows, positions: Rows) -> list[list[int]]:
    """Return new tokens of each row, each the one with the highest score; new ones stand at n, n + 1, ..."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    new, seen, at = (torch.tensor(array.astype(np.int64)) for array in (token_ids, mask, positions))
    lengths = seen.sum(dim=1, keepdim=True)
    made = []
    with torch.inference_mode():
        for step in range(NEW_TOKENS):
            logits = model(input_ids=new, attention_mask=seen, position_ids=at, past_key_values=cache).logits
            new = logits[:, -1].argmax(dim=-1, keepdim=True)
            made.append(new)
            seen = torch.cat([seen, torch.ones_like(new)], dim=1)
            at = lengths + step
    return [[int(token) for token in row] for row in torch.cat(made, dim=1)]


def _rectangle(batch: list[NDArray[Any]], prompts: list[list[int]], pad_id: int) -> Verdict | None:
    width = max(len(prompt) for prompt in prompts)
    for name, array in zip(("token_ids", "mask", "positions"), batch, strict=True):
        if array.shape != (len(prompts), width):
            return wrong(
                f"{name} has the shape {array.shape}; ({len(prompts)}, {width}) is asked for.",
                "A row for each prompt, a column for each token of the longest.",
            )
        if array.dtype.kind not in "iub":
            return wrong(
                f"{name} holds {array.dtype}.", "Ids, mask and positions are whole numbers: dtype=int."
            )
    token_ids, mask = batch[0], batch[1].astype(int)
    for row, prompt in enumerate(prompts):
        padding = width - len(prompt)
        if token_ids[row, : len(prompt)].tolist() == prompt and padding:
            return wrong(
                f"The padding of prompt {row + 1} stands behind it: its last column holds padding.",
                "The next token is read in the last column: put padding in front.",
            )
        if token_ids[row].tolist() != [pad_id] * padding + prompt:
            return wrong(
                f"Row {row} does not hold its prompt behind the padding.", "`[pad_id] * padding + prompt`."
            )
        if mask[row].all() and padding:
            return wrong(f"Padding of prompt {row + 1} can be seen.", "The mask is 0 where there is padding.")
        if mask[row].tolist() != [0] * padding + [1] * len(prompt):
            return wrong(
                f"The mask of prompt {row + 1} does not fit.",
                "0 for padding, 1 for each token of the prompt.",
            )
    return None


def _positions(positions: NDArray[Any], prompts: list[list[int]]) -> Verdict | None:
    if (positions < 0).any():
        return wrong(
            "A position is below 0.", "Padding may stand anywhere, say at 0, but models have no position -1."
        )
    for row, prompt in enumerate(prompts):
        n = len(prompt)
        at = positions[row, -n:].tolist()
        if at == list(range(n)):
            continue
        return wrong(
            f"Prompt {row + 1} has {n} tokens, and they stand at {at[0]} to {at[-1]}; its first new token "
            f"will stand at {n}.",
            "Count its own tokens only, from 0: then the new token comes right behind them.",
        )
    return None


EXERCISE = Exercise("04.e4", "Pad on the left", 15, TASK, HINTS, left_pad, judge)
