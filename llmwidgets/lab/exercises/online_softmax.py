"""Exercise 02.e3: softmax over blocks that are read once and forgotten, the heart of FlashAttention."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

Array = NDArray[np.float64]
# (blocks, block size, largest score); the scores of the third case rise from block to block.
CASES = ((1, 4, 1.0), (4, 8, 3.0), (6, 16, 20.0), (5, 7, 3000.0), (32, 4, 5.0))
RISING = 2

TASK = """Write `attend_row(read_block, num_blocks)`: one row of attention over keys that come in blocks.

- `read_block(b)` returns `(scores, values)` of block `b`, two arrays of the same length. (A value is one
  number here; a vector works the same way.)
- Return the sum of `softmax(all scores) * (all values)`: one number.
- Read each block **once**, in any order, and never hold an array longer than a block. So you do not know the
  largest score, nor the sum, until the last block; what you have so far must be put right as you go.

The check compares with the full softmax. It counts reads, the longest array made, and blocks kept."""

HINTS = (
    "Keep three numbers as you go: the largest score so far `m`, the sum of `exp(score - m)` so far, and the "
    "sum of `exp(score - m) * value` so far.",
    "When a block brings a larger maximum `new_m`, the two sums are still measured from the old `m`. "
    "`exp(score - new_m)` is `exp(score - m) * exp(m - new_m)`.",
    "For each block: `new_m = max(m, scores.max())`; `shrink = np.exp(m - new_m)`; "
    "`p = np.exp(scores - new_m)`; `total = total * shrink + p.sum()`; the weighted sum in the same way. "
    "Start with `m = -np.inf`.",
)


def attend_row(read_block, num_blocks):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the softmax-weighted sum of the values, reading each block once."""
    largest, total, weighted = -np.inf, 0.0, 0.0
    for b in range(num_blocks):
        scores, values = read_block(b)
        new_largest = max(largest, scores.max())
        shrink = np.exp(largest - new_largest)
        p = np.exp(scores - new_largest)
        total = total * shrink + p.sum()
        weighted = weighted * shrink + (p * values).sum()
        largest = new_largest
    return weighted / total


class Meter:
    """Hands out blocks, and counts what is done with them."""

    def __init__(self, scores: Array, values: Array) -> None:
        """Take scores and values, both of shape (blocks, block size)."""
        self.scores, self.values = scores, values
        self.reads = [0] * len(scores)
        self.longest = 0
        """Most numbers in one array that was made from a block."""
        self.most_kept = 0
        """Most blocks of scores that were alive just before another was read."""
        self._handed_out: list[weakref.ref[Any]] = []
        meter = self

        class Counted(np.ndarray[Any, Any]):
            """An array that reports each array made from it."""

            __array_priority__ = 1.0  # so that joined blocks are Counted too

            def __array_finalize__(self, _made_from: Any) -> None:
                meter.longest = max(meter.longest, self.size)

        self._array = Counted

    def read_block(self, index: int) -> tuple[Array, Array]:
        """Return scores and values of one block."""
        self.most_kept = max(self.most_kept, sum(block() is not None for block in self._handed_out))
        self.reads[index] += 1
        scores = self.scores[index].copy().view(self._array)
        self._handed_out.append(weakref.ref(scores))
        return scores, self.values[index].copy().view(self._array)


def blocks(case: int) -> tuple[Array, Array]:
    """Return scores and values of a case, both of shape (blocks, block size)."""
    num_blocks, size, largest = CASES[case]
    rng = np.random.default_rng(case)
    scores = rng.uniform(-largest, largest, (num_blocks, size))
    if case == RISING:
        scores = np.sort(scores, axis=None).reshape(num_blocks, size)
    return scores, rng.standard_normal((num_blocks, size))


def judge(answer: Callable[..., Any]) -> Verdict:
    """Compare an answer with the full softmax in all cases, then look at what it read and made."""
    for case, (num_blocks, size, _) in enumerate(CASES):
        scores, values = blocks(case)
        meter = Meter(scores, values)
        with np.errstate(all="ignore"):
            given = answer(meter.read_block, num_blocks)
        if given is None or given is ...:
            return not_attempted()
        verdict = _value(given, scores, values) or _thrift(meter, num_blocks, size)
        if verdict is not None:
            return verdict
    return right(
        f"equal to the full softmax in {len(CASES)} of {len(CASES)} cases; each block read once, "
        "and no array longer than a block"
    )


def full(scores: Array, values: Array) -> float:
    """Return the sum over all scores at once."""
    p = np.exp(scores - scores.max())
    return float((p * values).sum() / p.sum())


def _value(given: Any, scores: Array, values: Array) -> Verdict | None:
    result = np.asarray(given)
    if result.size != 1:
        return wrong(
            f"You return {result.size} numbers; one is asked for.", "Sum over all tokens of all blocks."
        )
    number = float(result.reshape(-1)[0])
    if not np.isfinite(number):
        return wrong(
            f"With scores up to {scores.max():.0f} your result is {number}.",
            "exp of a large number overflows: subtract the largest score so far before exp.",
        )
    if np.isclose(number, full(scores, values), rtol=1e-9, atol=1e-12):
        return None
    if np.isclose(number, _not_shrunk(scores, values), rtol=1e-9, atol=1e-12):
        return wrong(
            "Earlier blocks keep the scale of an older maximum: the sums so far are not put right.",
            "When the maximum grows from m to new_m, multiply both sums by exp(m - new_m).",
        )
    if np.isclose(number, np.mean([full(*pair) for pair in zip(scores, values, strict=True)])):
        return wrong(
            "This is the mean of the blocks' own softmaxes: each block counts the same, whatever its scores.",
            "Add up numerators and denominators over all blocks, and divide once at the end.",
        )
    return wrong(
        f"With {scores.shape[0]} blocks of {scores.shape[1]} your result differs from the full softmax.",
        "Try one block, then two blocks in which the second has the larger score.",
    )


def _not_shrunk(scores: Array, values: Array) -> float:
    largest, total, weighted = -np.inf, 0.0, 0.0
    for s, v in zip(scores, values, strict=True):
        largest = max(largest, float(s.max()))
        p = np.exp(s - largest)
        total, weighted = total + float(p.sum()), weighted + float((p * v).sum())
    return weighted / total


def _thrift(meter: Meter, num_blocks: int, size: int) -> Verdict | None:
    reads = sum(meter.reads)
    if reads > num_blocks:
        return wrong(
            f"The result is right, but {num_blocks} blocks took {reads} reads.",
            "Each read is a trip to slow memory: one pass is enough if you correct the sums as you go.",
        )
    if meter.longest > size:
        return wrong(
            f"The result is right, but you made an array of {meter.longest} numbers; a block has {size}.",
            "Do not join blocks: keep only the largest score and two sums.",
        )
    if meter.most_kept > 1:  # the one block that the loop's own variable still names
        return wrong(
            f"The result is right, but you kept {meter.most_kept} blocks while reading another.",
            "Use a block and let it go: keep only the largest score and two sums.",
        )
    return None


EXERCISE = Exercise("02.e3", "Softmax in blocks", 20, TASK, HINTS, attend_row, judge)
