"""Exercise 02.e1: attention with a causal mask, held against PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Array = NDArray[np.float32]
NUM_SHAPES = 20
TOLERANCE = 1e-5

TASK = """Write `attention(q, k, v)` in NumPy: the attention of *one* head, as in equation 1 of Vaswani 2017,
with a causal mask.

- `q`, `k`, `v` have the shape `(T, D)`: `T` tokens, `D` numbers each. In a batch they have more axes in
  front, `(B, T, D)`.
- Return an array of the same shape. Row `i` is the sum of the rows `0` to `i` of `v`, weighted by the
  softmax of `q[i] · k[j] / sqrt(D)` over `j = 0 … i`.

The check compares yours with PyTorch's `scaled_dot_product_attention` on 20 shapes, to 1e-5."""

HINTS = (
    "Three steps: scores, mask, softmax; then one product with `v`. `k.swapaxes(-1, -2)` turns the last two "
    "axes, whatever stands in front of them.",
    "Set the scores of later tokens to `-np.inf` *before* the softmax: `exp(-inf)` is 0, so they take no "
    "part in the sum either. "
    "`np.tril(np.ones((T, T), dtype=bool))` is True where row `i` may look at column `j`.",
    "Subtract each row's largest score before `exp`, else large scores overflow: "
    "`weights = np.exp(scores - scores.max(axis=-1, keepdims=True))`, then divide by "
    "`weights.sum(axis=-1, keepdims=True)`.",
)


def attention(q, k, v):  # type: ignore[no-untyped-def]  # shown to learners, who write no types
    """Return causal attention; q, k and v have the shape (..., T, D)."""
    T, D = q.shape[-2:]
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(D)
    may_look = np.tril(np.ones((T, T), dtype=bool))
    scores = np.where(may_look, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return weights @ v


def shapes() -> list[tuple[int, ...]]:
    """Return the 20 shapes of the check: small ones first, half of them with a batch."""
    rng = np.random.default_rng(2)
    made: list[tuple[int, ...]] = [(1, 4), (2, 1), (3, 2)]
    while len(made) < NUM_SHAPES:
        batch = (int(rng.integers(2, 5)),) if len(made) % 2 else ()
        made.append((*batch, int(rng.integers(2, 40)), int(rng.integers(2, 65))))
    return made


def judge(answer: Callable[..., Any]) -> Verdict:
    """Compare an answer with PyTorch on all shapes; the last one has scores of some thousands."""
    rng = np.random.default_rng(20)
    for number, shape in enumerate(shapes(), start=1):
        q, k, v = (rng.standard_normal(shape).astype(np.float32) for _ in range(3))
        if number == NUM_SHAPES:
            q *= 1000
        given = answer(q.copy(), k.copy(), v.copy())
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(np.asarray(given), q, k, v)
        if verdict is not None:
            return verdict
    return right(f"equal to PyTorch's scaled_dot_product_attention on {NUM_SHAPES} of {NUM_SHAPES} shapes")


def _compare(given: NDArray[Any], q: Array, k: Array, v: Array) -> Verdict | None:
    if given.shape != q.shape:
        return wrong(
            f"For q, k and v of shape {q.shape} you return the shape {given.shape}.",
            "The output has one row for each row of q, in a batch too: use the last two axes only.",
        )
    if given.dtype.kind not in "fiu" or not np.isfinite(given).all():
        return wrong(
            f"For shape {q.shape} the output holds values that are not numbers (nan or inf).",
            "Large scores overflow in exp: subtract each row's largest score before it. A row in which "
            "everything is masked gives 0 / 0.",
        )
    if np.allclose(given, _torch(q, k, v), atol=TOLERANCE, rtol=TOLERANCE):
        return None
    for make, verdict in _MISTAKES:
        if np.allclose(given, make(q, k, v), atol=TOLERANCE, rtol=1e-4):
            return verdict
    return wrong(
        f"For shape {q.shape} the output differs by up to {np.abs(given - _torch(q, k, v)).max():.2g}.",
        "Take T = 2 and compute both rows by hand: row 0 is v[0] itself.",
    )


def _torch(q: Array, k: Array, v: Array) -> NDArray[Any]:
    import torch  # slow to load, and needed only once an answer is checked
    from torch.nn.functional import scaled_dot_product_attention

    queries, keys, values = (torch.from_numpy(array)[None] for array in (q, k, v))
    with torch.inference_mode():
        return np.asarray(scaled_dot_product_attention(queries, keys, values, is_causal=True)[0].numpy())


def _softmax(scores: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return np.asarray(weights / weights.sum(axis=axis, keepdims=True))


def _scores(q: Array, k: Array) -> NDArray[Any]:
    return np.asarray(q @ k.swapaxes(-1, -2))


def _masked(scores: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.tril(np.ones(scores.shape[-2:], dtype=bool)), scores, -np.inf)


def _no_mask(q: Array, k: Array, v: Array) -> NDArray[Any]:
    return np.asarray(_softmax(_scores(q, k) / np.sqrt(q.shape[-1])) @ v)


def _no_scale(q: Array, k: Array, v: Array) -> NDArray[Any]:
    return np.asarray(_softmax(_masked(_scores(q, k))) @ v)


def _wrong_scale(q: Array, k: Array, v: Array) -> NDArray[Any]:
    return np.asarray(_softmax(_masked(_scores(q, k) / q.shape[-1])) @ v)


def _mask_after(q: Array, k: Array, v: Array) -> NDArray[Any]:
    return np.asarray(np.tril(_softmax(_scores(q, k) / np.sqrt(q.shape[-1]))) @ v)


def _mask_zero(q: Array, k: Array, v: Array) -> NDArray[Any]:
    return np.asarray(_softmax(np.tril(_scores(q, k) / np.sqrt(q.shape[-1]))) @ v)


def _wrong_axis(q: Array, k: Array, v: Array) -> NDArray[Any]:
    return np.asarray(_softmax(_masked(_scores(q, k) / np.sqrt(q.shape[-1])), axis=-2) @ v)


_MISTAKES: tuple[tuple[Callable[[Array, Array, Array], NDArray[Any]], Verdict], ...] = (
    (
        _no_mask,
        wrong("Every token sees every other: there is no mask.", "Give later tokens the score -np.inf."),
    ),
    (
        _no_scale,
        wrong("The scores are not divided by sqrt(D).", "Divide q · k by np.sqrt(D) before the softmax."),
    ),
    (
        _wrong_scale,
        wrong("The scores are divided by D, not by sqrt(D).", "Divide by np.sqrt(D)."),
    ),
    (
        _mask_after,
        wrong(
            "The mask comes after the softmax, so the rows no longer add up to 1.",
            "Mask the scores, then take the softmax.",
        ),
    ),
    (
        _mask_zero,
        wrong(
            "Masked scores are 0, but exp(0) is 1: later tokens still take part.",
            "Use -np.inf, for exp(-inf) is 0.",
        ),
    ),
    (
        _wrong_axis,
        wrong(
            "The softmax runs over the queries: columns add up to 1, not rows.",
            "Take max and sum along axis=-1.",
        ),
    ),
)

EXERCISE = Exercise("02.e1", "Masked attention", 15, TASK, HINTS, attention, judge)
