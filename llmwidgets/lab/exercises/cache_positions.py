"""Exercise 03.e2: a KV cache whose new tokens are turned by the wrong positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

PROMPTS = (
    "Alice was beginning to get very tired of sitting by her sister",
    "The ship struck the rocks, and",
    "It was a dark night",
)
NEW_TOKENS = 12

TASK = """`generate(forward, prompt, max_tokens)` generates greedily with a KV cache.
`forward(token_ids, positions)` runs the model on new tokens only: it turns their queries and keys by
`positions`, puts keys and values into its cache, and returns the scores of the next token.

The version in the next cell raises no error, and its text even looks like English. But it is not the text
that the model would write. Mend it.

The check runs yours on the bundled model and compares its ids with `engine.generate`, on three prompts. It
also notes which positions you hand over."""

HINTS = (
    "Write down the positions that `forward` gets for a prompt of 14 tokens and three new ones. Which token "
    "stands at position 2 at the end?",
    "Cached keys are turned already, each by its own position. A new token's query must be turned by a "
    "position from which the distances to them are right.",
    "The new token of step `step` stands behind the prompt and behind all new tokens before it: at "
    "`len(prompt) + step`.",
)


def generate(forward, prompt, max_tokens):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the ids of the new tokens, each the one with the highest score."""
    scores = forward(prompt, positions=range(len(prompt)))
    new_ids = []
    for step in range(max_tokens):
        new_ids.append(int(scores.argmax()))
        scores = forward([new_ids[-1]], positions=[len(prompt) + step])
    return new_ids


def as_given(forward: Callable[..., Any], prompt: Sequence[int], max_tokens: int) -> list[int]:
    """Return ids as the lab's version does, bug included."""
    scores = forward(prompt, positions=range(len(prompt)))
    new_ids: list[int] = []
    for step in range(max_tokens):
        new_ids.append(int(scores.argmax()))
        scores = forward([new_ids[-1]], positions=[step])
    return new_ids


class CachedModel:
    """A model with a KV cache of Transformers, and a note of what went through it."""

    def __init__(self, model: Any) -> None:
        """Begin with an empty cache."""
        from transformers import DynamicCache

        self._model = model
        self._cache = DynamicCache()
        self.token_ids: list[int] = []
        self.positions: list[int] = []

    def forward(self, token_ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """Run new tokens at their positions, and return the scores of the next token, shape (vocabulary,)."""
        import torch

        ids, at = ([int(number) for number in numbers] for numbers in (token_ids, positions))
        if len(ids) != len(at) or not ids:
            raise ValueError(f"{len(ids)} tokens and {len(at)} positions; there must be one for each token")
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor([ids]), position_ids=torch.tensor([at]), past_key_values=self._cache
            ).logits
        self.token_ids += ids
        self.positions += at
        return np.asarray(logits[0, -1].float().numpy())


def judge(answer: Callable[..., Any]) -> Verdict:
    """Run an answer on the bundled model, and look at its positions and its ids."""
    from llmwidgets.engine import load  # slow to load, and needed only once an answer is checked

    engine = load()
    for number, text in enumerate(PROMPTS, start=1):
        prompt = [int(token) for token in engine.tokenizer(text)["input_ids"]]
        cached = CachedModel(engine.model)
        given = answer(cached.forward, list(prompt), NEW_TOKENS)
        if given is None or given is ...:
            return not_attempted()
        before = CachedModel(engine.model)
        if (
            list(given) == as_given(before.forward, prompt, NEW_TOKENS)
            and cached.positions == before.positions
        ):
            return not_attempted()
        exact = engine.generate(prompt, max_tokens=NEW_TOKENS, ignore_eos=True).token_ids
        verdict = _positions(cached, len(prompt)) or _ids(list(given), list(exact), number)
        if verdict is not None:
            return verdict
    return right(f"the ids of engine.generate, {NEW_TOKENS} of {NEW_TOKENS} on {len(PROMPTS)} prompts")


def _positions(cached: CachedModel, num_prompt: int) -> Verdict | None:
    """Refuse positions that do not go up one by one; where they begin does not matter."""
    at = cached.positions
    if len(at) > num_prompt + NEW_TOKENS:
        return wrong(
            f"{len(at)} tokens went through the model; {num_prompt} of the prompt and {NEW_TOKENS} new ones "
            "would do.",
            "forward keeps what it saw: hand over new tokens only, each once.",
        )
    for index in range(1, len(at)):
        if at[index] == at[index - 1] + 1:
            continue
        who = f"Token {index} of the prompt" if index < num_prompt else f"New token {index - num_prompt}"
        return wrong(
            f"{who} is turned for position {at[index]}; the one before it stands at {at[index - 1]}.",
            f"It comes right after, so it stands at {at[index - 1] + 1}: else its distance to every cached "
            "key is wrong.",
        )
    return None


def _ids(given: list[Any], exact: list[int], number: int) -> Verdict | None:
    if len(given) != len(exact):
        return wrong(
            f"You return {len(given)} ids; {len(exact)} are asked for.",
            "Return the new tokens only, all of them.",
        )
    if given == exact:
        return None
    same = next(i for i, (one, other) in enumerate(zip(given, exact, strict=True)) if one != other)
    return wrong(
        f"On prompt {number} your ids leave those of engine.generate at new token {same}, though the "
        "positions are right.",
        "Take the token with the highest score, and hand exactly that one to forward.",
    )


EXERCISE = Exercise("03.e2", "Find the wrong offset", 15, TASK, HINTS, generate, judge)
