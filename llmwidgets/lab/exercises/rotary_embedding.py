"""Exercise 03.e1: turn queries and keys by their positions, held against Transformers' own rotation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Array = NDArray[np.float32]
TOLERANCE = 1e-4
SHIFT_TOLERANCE = 1e-4
SHIFTS = (1, 10, 500)
# (tokens, head size, first position); the last two as in decoding, where positions do not begin at 0.
CASES = ((1, 2, 0), (2, 4, 0), (5, 8, 0), (12, 64, 0), (7, 16, 90), (1, 64, 700))

TASK = """Write `apply_rope(x, positions, inv_freq)` in NumPy: queries or keys of one head, turned by their
positions.

- `x` has the shape `(T, D)`, `positions` the shape `(T,)`, `inv_freq` the shape `(D / 2,)`.
- Pair `i` is the numbers `i` and `i + D / 2` of a row (as in Llama). It is turned by the angle
  `positions[t] * inv_freq[i]`, as a point `(a, b)` of the plane is:
  `a' = a cos - b sin`, `b' = b cos + a sin`.
- Return an array of the shape of `x`.

The check compares yours with Transformers' `apply_rotary_pos_emb` to 1e-4. Then it moves a query and a key
together by 1, 10 and 500 positions: their score may change by less than 1e-4."""

HINTS = (
    "Angles first: `positions[:, None] * inv_freq` has the shape `(T, D / 2)`, one angle for each token and "
    "pair.",
    "Split each row into halves: `a, b = np.split(x, 2, axis=-1)`. Now `a[:, i]` and `b[:, i]` are pair `i`, "
    "and both have the shape of the angles.",
    "With `cos = np.cos(angles)` and `sin = np.sin(angles)`: "
    "`np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)`.",
)


def apply_rope(x, positions, inv_freq):  # type: ignore[no-untyped-def]  # shown to learners, who write no types
    """Return queries or keys turned by their positions; x has the shape (T, D)."""
    angles = np.asarray(positions)[:, None] * inv_freq
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def frequencies(size: int) -> Array:
    """Return one frequency for each pair of a head of `size` numbers, base 10,000."""
    return (10_000.0 ** (-np.arange(0, size, 2) / size)).astype(np.float32)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Compare an answer with Transformers in all cases, then move query and key together."""
    rng = np.random.default_rng(30)
    for tokens, size, first in CASES:
        x = rng.standard_normal((tokens, size)).astype(np.float32)
        positions, inv_freq = np.arange(first, first + tokens), frequencies(size)
        given = answer(handed := x.copy(), positions.copy(), inv_freq.copy())
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(np.asarray(given), x, positions, inv_freq)
        if verdict is not None:
            return verdict
        if not np.array_equal(handed, x):
            return wrong("You write into `x` itself: the caller's numbers changed.", "Make a new array.")
    change = shift_change(answer)
    if not change < SHIFT_TOLERANCE:
        return wrong(
            f"Query and key moved together, and their score changed by {change:.2g}.",
            "The angle must be position times frequency, and nothing else may depend on the position.",
        )
    return right(
        f"equal to Transformers' apply_rotary_pos_emb in {len(CASES)} of {len(CASES)} cases; shifts by "
        f"{', '.join(map(str, SHIFTS))} change no score"
    )


def shift_change(answer: Callable[..., Any]) -> float:
    """Return how far a score of a query and a key moves at most when both are shifted."""
    rng = np.random.default_rng(31)
    q, k = rng.standard_normal((2, 1, 64)).astype(np.float32)
    inv_freq = frequencies(64)

    def score(shift: int) -> float:
        turned = (answer(x, np.array([at + shift]), inv_freq) for x, at in ((q, 20), (k, 13)))
        query, key = (np.asarray(x, np.float64)[0] for x in turned)
        return float(query @ key) / 8

    return max(abs(score(shift) - score(0)) for shift in SHIFTS)


def _compare(given: NDArray[Any], x: Array, positions: NDArray[np.int64], inv_freq: Array) -> Verdict | None:
    case = f"For x of shape {x.shape} at positions {positions[0]} to {positions[-1]}"
    if given.shape != x.shape:
        return wrong(
            f"For x of shape {x.shape} you return the shape {given.shape}.",
            "Both halves of each row come back, side by side again: np.concatenate([...], axis=-1).",
        )
    if given.dtype.kind not in "fiu" or not np.isfinite(given).all():
        return wrong(
            f"{case} the output holds values that are not numbers.", "Look at dtype and at inv_freq."
        )
    exact = _transformers(x, positions, inv_freq)
    if np.allclose(given, exact, atol=TOLERANCE, rtol=TOLERANCE):
        return None
    angles = positions[:, None] * inv_freq
    for made, message, next_step in (
        (x, "nothing is turned.", "Use the angles: position times frequency."),
        (
            _half_split(x, -angles),
            "the pairs turn backwards.",
            "Signs: a' = a cos - b sin, and b' = b cos + a sin.",
        ),
        (
            _neighbours(x, angles),
            "neighbours are turned, the numbers 2 i and 2 i + 1.",
            "In Llama pair i is the numbers i and i + D / 2: split each row into halves.",
        ),
        (
            _half_split(x, np.arange(len(x))[:, None] * inv_freq),
            "the tokens are turned as if they stood at 0, 1, 2, ...",
            "Use `positions`: in decoding a new token does not stand at 0.",
        ),
        (
            _half_split(x, np.radians(angles)),
            "the angles are taken for degrees.",
            "inv_freq is in radians a position, and so np.cos takes it.",
        ),
    ):
        if np.allclose(given, made, atol=TOLERANCE, rtol=1e-4):
            return wrong(f"{case} {message}", next_step)
    return wrong(
        f"{case} the output differs by up to {np.abs(given - exact).max():.2g}.",
        "Take D = 2: one pair. At position 1 with frequency 1, (1, 0) becomes (cos 1, sin 1).",
    )


def _transformers(x: Array, positions: NDArray[np.int64], inv_freq: Array) -> NDArray[Any]:
    import torch  # slow to load, and needed only once an answer is checked
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    angles = torch.from_numpy(positions).float()[:, None] * torch.from_numpy(inv_freq)
    both = torch.cat([angles, angles], dim=-1)[None]  # (1, T, D)
    rows = torch.from_numpy(x)[None, None]  # (1, 1, T, D)
    return np.asarray(apply_rotary_pos_emb(rows, rows, both.cos(), both.sin())[0][0, 0].numpy())


def _half_split(x: Array, angles: NDArray[Any]) -> NDArray[Any]:
    a, b = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def _neighbours(x: Array, angles: NDArray[Any]) -> NDArray[Any]:
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)


EXERCISE = Exercise("03.e1", "Turn by position", 15, TASK, HINTS, apply_rope, judge)
