"""Exercise 06.e4: the block size that wastes least, by counting."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

TASK = """Small blocks leave little room unused; large ones make short block tables. Write
`choose_block_size(lengths, overhead)`: the whole number of at least 1 that makes this sum as small as it
can be. For a sequence of `n` tokens in blocks of `b`:

- it has `ceil(n / b)` blocks, and what is left empty in the last one is **waste**, counted in tokens;
- each of its blocks costs `overhead` tokens more: an entry of the table to look up, and a jump to another
  place in memory for whoever reads it.

Add both up over all `lengths`, a list of whole numbers. Count: there are few block sizes to try, since none
above the longest sequence can be better. If two are equally good, either is right.

The check counts for itself, for six lists; the last one has the lengths of 200 requests of chat."""

HINTS = (
    "Write the cost for one block size first: of one `n`, `blocks = -(-n // b)`, and waste `blocks * b - n`.",
    "Try every `b` from 1 to the longest length, and keep the one with the smallest sum.",
    "`return min(range(1, max(lengths) + 1), key=cost)`, where `cost(b)` is the sum of "
    "`-(-n // b) * (b + overhead) - n`.",
)


def choose_block_size(lengths, overhead):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the block size with the smallest sum of waste and overhead."""

    def cost(b):  # type: ignore[no-untyped-def]  # the same
        return sum(-(-n // b) * (b + overhead) - n for n in lengths)

    return min(range(1, max(lengths) + 1), key=cost)


def waste(lengths: Sequence[int], block_size: int) -> int:
    """Return the empty places of all last blocks, in tokens."""
    return sum(-(-n // block_size) * block_size - n for n in lengths)


def num_blocks(lengths: Sequence[int], block_size: int) -> int:
    """Return the blocks of all sequences."""
    return sum(-(-n // block_size) for n in lengths)


def cases() -> list[tuple[list[int], float]]:
    """Return lists of lengths, each with an overhead."""
    from llmwidgets.records.workload import workload

    draw = random.Random(0)
    chat = workload("chat", 200, vocab_size=2)
    return [
        ([60], 2),
        ([draw.randint(40, 80) for _ in range(30)], 2),
        ([draw.randint(1, 200) for _ in range(50)], 0.25),
        ([draw.randint(200, 900) for _ in range(40)], 8),
        ([96] * 5 + [32] * 3, 4),
        ([len(request.prompt) + (request.max_tokens or 0) for request in chat], 2),
    ]


def judge(answer: Callable[..., Any]) -> Verdict:
    """Count for each list what the chosen block size costs, and what the best one would."""
    chosen = 0
    lengths: list[int] = []
    for lengths, overhead in cases():
        given = answer(list(lengths), overhead)
        if given is None or given is ...:
            return not_attempted()
        number = np.asarray(given)
        if number.size != 1 or number.dtype.kind not in "iu" or int(number) < 1:
            return wrong(f"You return {str(given)[:40]!r}.", "Return one whole number of at least 1.")
        chosen = int(number)
        verdict = _compare(chosen, lengths, overhead)
        if verdict is not None:
            return verdict
    used = sum(lengths)
    share = 100 * used / (used + waste(lengths, chosen))
    return right(
        f"6 of 6 lists; for {len(lengths)} requests of chat {chosen} tokens a block: {share:.0f}% of their "
        f"room holds tokens, in {num_blocks(lengths, chosen)} blocks"
    )


def _compare(chosen: int, lengths: list[int], overhead: float) -> Verdict | None:
    def cost(b: int) -> float:
        return waste(lengths, b) + overhead * num_blocks(lengths, b)

    sizes = range(1, max(lengths) + 1)
    best = min(sizes, key=cost)
    if cost(chosen) <= cost(best) + 1e-9:
        return None
    said = (
        f"{len(lengths)} lengths, overhead {overhead:g}: blocks of {chosen} cost {cost(chosen):g} tokens, "
        f"blocks of {best} only {cost(best):g}."
    )
    one_more = {b: sum((n // b + 1) * (b + overhead) - n for n in lengths) for b in sizes}
    powers = [2**k for k in range(max(lengths).bit_length() + 1)]
    mean = sum(lengths) / len(lengths)
    mistakes = (
        (1, "This is the size with the least waste; add the overhead of all those blocks."),
        (max(lengths), "This makes the fewest blocks; count what stays empty in them, too."),
        (
            min(sizes, key=lambda b: waste(lengths, b) + num_blocks(lengths, b)),
            "A block costs `overhead` tokens, which is not 1.",
        ),
        (min(powers, key=cost), "This is the best power of two; other sizes are allowed here."),
        (
            min(sizes, key=one_more.__getitem__),
            "n // b + 1 is one too many where b divides n: round n / b up.",
        ),
        (
            round(sqrt(2 * overhead * mean)),
            "sqrt(2 · overhead · mean) comes near where lengths are spread out; count to be exact.",
        ),
    )
    for other, reason in mistakes:
        if chosen == other:
            return wrong(said, reason)
    return wrong(said, "Print the cost of each size for a single length, such as 60, and look.")


EXERCISE = Exercise("06.e4", "How large a block", 15, TASK, HINTS, choose_block_size, judge)
