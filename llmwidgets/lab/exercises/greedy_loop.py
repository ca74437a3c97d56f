"""Exercise 01.e1: the autoregressive loop, held against `engine.generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Logits = NDArray[Any]
PROMPTS = ("The old man looked at the sea and said", "Alice was beginning to get very", "for i in range(")
NUM_TOKENS = 12
END = 0  # the small model's end token

TASK = """Write `greedy(next_logits, prompt, max_tokens, end)`: the loop that every engine turns.

- `next_logits(token_ids)` runs the model over a list of token ids and returns the logits of the token that
  comes after them: one number for each token of the vocabulary. Each call is one forward pass.
- `prompt` is a list of token ids. Return the list of the **new** ones: each time the token with the largest
  logit, `max_tokens` of them at most.
- After the token `end` nothing comes. It is the last of the new tokens.

The check runs yours on a small model that ends early, then compares it with `engine.generate` on three
prompts."""

HINTS = (
    "Keep one list that begins as a copy of the prompt. Each new token goes to its end, and the whole "
    "list goes into the next call.",
    "`int(np.argmax(logits))` is the token with the largest logit. Append it first, then look whether it "
    "was `end`.",
    "`for _ in range(max_tokens):`, in it `token = int(np.argmax(next_logits(sequence)))`, append, `if "
    "token == end: break`. At the end return `sequence[len(prompt):]`.",
)


def greedy(next_logits, prompt, max_tokens, end):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the new tokens, each the most probable one after all before it."""
    sequence = list(prompt)
    for _ in range(max_tokens):
        token = int(np.argmax(next_logits(sequence)))
        sequence.append(token)
        if token == end:
            break
    return sequence[len(prompt) :]


@dataclass(frozen=True)
class Case:
    """A prompt for the small model, and how many new tokens are asked for."""

    prompt: tuple[int, ...]
    max_tokens: int


CASES = (Case((3, 1), 6), Case((4,), 1), Case((2, 2, 7), 20))  # the last one comes to its end token


def small_model(token_ids: Sequence[int]) -> Logits:
    """Return logits over nine tokens that depend on all tokens before."""
    following = (sum((i + 1) * int(token_id) for i, token_id in enumerate(token_ids)) + 5) % 9
    return np.asarray(-np.abs(np.arange(9.0) - following))


class Counted:
    """The small model, with a count of its forward passes."""

    passes = 0

    def __call__(self, token_ids: Sequence[int]) -> Logits:
        """Run the model over `token_ids`."""
        self.passes += 1
        return small_model(token_ids)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Run an answer on the small model, then hold it against the engine."""
    for case in CASES:
        model, prompt = Counted(), list(case.prompt)
        given = answer(model, prompt, case.max_tokens, END)
        if given is None or given is ...:
            return not_attempted()
        if prompt != list(case.prompt):
            return wrong(
                f"You changed the prompt: {list(case.prompt)} became {prompt}.",
                "Work on a copy: `sequence = list(prompt)`.",
            )
        verdict = _compare(_ids(given), model.passes, case)
        if verdict is not None:
            return verdict
    return _against_engine(answer)


def _compare(given: list[int], passes: int, case: Case) -> Verdict | None:
    expected = greedy(small_model, case.prompt, case.max_tokens, END)
    shown = f"With the prompt {list(case.prompt)} and max_tokens={case.max_tokens} you return {given}"
    if given != expected:
        for make, message, next_step in _MISTAKES:
            if given == make(case):
                return wrong(f"{shown}: {message}", next_step)
        return wrong(
            f"{shown}; greedy decoding gives {expected}.", "Take the token with the largest logit: np.argmax."
        )
    if passes != len(expected):
        return wrong(
            f"{len(expected)} new tokens took {passes} forward passes.",
            "One pass gives one new token, so call next_logits once for each.",
        )
    return None


def _against_engine(answer: Callable[..., Any]) -> Verdict:
    from llmwidgets.engine import load  # slow, and needed only once an answer works on the small model

    engine = load()

    def next_logits(token_ids: Sequence[int]) -> Logits:
        drawn = engine.generate([int(token_id) for token_id in token_ids], max_tokens=1).steps[0].distribution
        return np.asarray(None if drawn is None else drawn.logits)

    for text in PROMPTS:
        whole = engine.generate(text, max_tokens=NUM_TOKENS)
        prompt, expected = list(whole.prompt_token_ids), list(whole.token_ids)
        given = _ids(answer(next_logits, prompt, NUM_TOKENS, min(engine.eos_token_ids)))
        if given != expected:
            return wrong(
                f"After {text!r} you return {given}; the engine's greedy tokens are {expected}.",
                "Print both step by step; the first token that differs shows where the loop goes wrong.",
            )
    return right(
        f"the same {NUM_TOKENS} token ids as engine.generate after {len(PROMPTS)} of {len(PROMPTS)} prompts"
    )


def _ids(given: Any) -> list[int]:
    return [int(token_id) for token_id in given]


def _greedily(case: Case, see: Callable[[list[int]], list[int]], append: bool = True) -> list[int]:
    """Return max_tokens new tokens, whatever they are; `see` says what a pass gets of the sequence."""
    sequence, new = list(case.prompt), []
    for _ in range(case.max_tokens):
        new.append(int(np.argmax(small_model(see(sequence)))))
        sequence += new[-1:] if append else []
    return new


def _with_prompt(case: Case) -> list[int]:
    return [*case.prompt, *greedy(small_model, case.prompt, case.max_tokens, END)]


def _without_end(case: Case) -> list[int]:
    return [token for token in greedy(small_model, case.prompt, case.max_tokens, END) if token != END]


def _one_more(case: Case) -> list[int]:
    return list(greedy(small_model, case.prompt, case.max_tokens + 1, END))


_MISTAKES: tuple[tuple[Callable[[Case], list[int]], str, str], ...] = (
    (_with_prompt, "the prompt is in it.", "Return the new tokens only: `sequence[len(prompt):]`."),
    (
        _without_end,
        f"the end token {END} is missing.",
        "Append the token first, then look whether it is the end.",
    ),
    (_one_more, "one token more than max_tokens.", "`range(max_tokens)` turns the loop max_tokens times."),
    (
        lambda case: _greedily(case, lambda sequence: sequence, append=False),
        "the first new token over and over.",
        "Append each new token to the sequence before the next pass.",
    ),
    (
        lambda case: _greedily(case, lambda sequence: sequence[-1:]),
        "each pass saw the last token only.",
        "The next token depends on all tokens before it: hand over the whole sequence.",
    ),
    (
        lambda case: _greedily(case, lambda sequence: sequence),
        f"it goes on past the end token {END}.",
        "Leave the loop once the new token is `end`.",
    ),
)

EXERCISE = Exercise("01.e1", "The loop", 10, TASK, HINTS, greedy, judge)
