"""Exercise 05.e1: how many FLOPs of a linear layer each byte buys, held against PyTorch's counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

# (B, D, F, bytes of a number)
CASES = (
    (3, 5, 7, 4),
    (1, 64, 64, 4),
    (1, 512, 1024, 2),
    (16, 512, 512, 4),
    (64, 1024, 512, 2),
    (512, 64, 96, 2),
)

TASK = """A linear layer multiplies `x`, of shape `(B, D)`, with its weight, of shape `(D, F)`. Write
`intensity(B, D, F, size)`: the FLOPs that it computes for each byte that must move.

- A multiplication and an addition are two FLOPs, and each of the `B × F` outputs takes `D` of both.
- These move once: `x` and the weight are read, and the output, of shape `(B, F)`, is written.
- Each number takes `size` bytes: 4 in float32, 2 in bfloat16.

The check runs such a layer in PyTorch with its FLOP counter on, and asks three tensors for their bytes."""

HINTS = (
    "Write the two numbers apart: all FLOPs, then all bytes. The first has one product of `B`, `D` and `F`; "
    "the second has three products of two of them.",
    "FLOPs: `2 * B * D * F`. Numbers that move: `B * D` in, `D * F` of weight, `B * F` out.",
    "`2 * B * D * F / (size * (B * D + D * F + B * F))`. Try it with B = 1 and large D and F: in bfloat16 it "
    "is nearly 1, and with every row more it grows by nearly 1.",
)


def intensity(B, D, F, size):  # type: ignore[no-untyped-def]  # shown to learners, who write no types
    """Return the FLOP/byte of a linear layer over B rows."""
    flops = 2 * B * D * F
    nbytes = size * (B * D + D * F + B * F)
    return flops / nbytes


def judge(answer: Callable[..., Any]) -> Verdict:
    """Compare an answer with what PyTorch counts, for one row and for many, in 4 and in 2 bytes."""
    for case in CASES:
        given = answer(*case)
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(given, *case)
        if verdict is not None:
            return verdict
    return right(f"equal to what PyTorch counts in {len(CASES)} of {len(CASES)} layers")


def counted(B: int, D: int, F: int, size: int) -> float:
    """Return the FLOP/byte of a layer that really runs."""
    import torch  # slow to load, and needed only once an answer is checked
    from torch.utils.flop_counter import FlopCounterMode

    dtype = {2: torch.bfloat16, 4: torch.float32}[size]
    x, weight = torch.ones(B, D, dtype=dtype), torch.ones(D, F, dtype=dtype)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = x @ weight
    return float(counter.get_total_flops() / (x.nbytes + weight.nbytes + output.nbytes))


def _compare(given: Any, B: int, D: int, F: int, size: int) -> Verdict | None:
    call = f"intensity({B}, {D}, {F}, {size})"
    number = np.asarray(given)
    if number.size != 1 or number.dtype.kind not in "fiu":
        return wrong(f"{call} gives {str(given)[:40]!r}; one number is asked for.", "Return FLOPs / bytes.")
    value, expected = float(number.reshape(-1)[0]), counted(B, D, F, size)
    if np.isclose(value, expected, rtol=1e-9):
        return None
    flops, moved = 2 * B * D * F, B * D + D * F + B * F
    mistakes = (
        (expected / 2, "Each output takes D multiplications and D additions, so FLOPs are 2 · B · D · F."),
        (expected * size, "You count numbers, not bytes: each takes `size` bytes."),
        (1 / expected, "This is bytes for each FLOP: turn the division around."),
        (flops / (size * D * F), "You count the weight only: x is read too, and the output is written."),
        (flops / (size * (B * D + D * F)), "You leave out the output, which is written: B · F numbers."),
        (flops / (size * (D * F + B * F)), "You leave out x, which is read: B · D numbers."),
        (float(flops), "These are the FLOPs: divide them by the bytes that move."),
        (float(size * moved), "These are the bytes: divide the FLOPs by them."),
    )
    for wrong_value, reason in mistakes:
        if np.isclose(value, wrong_value, rtol=1e-9):
            return wrong(f"{call} gives {value:.4g}; PyTorch counts {expected:.4g}.", reason)
    return wrong(
        f"{call} gives {value:.4g}; PyTorch counts {expected:.4g}.",
        "Take B = D = F = 1 with 4 bytes: two FLOPs, three numbers, so 2 / 12.",
    )


EXERCISE = Exercise("05.e1", "FLOPs for a byte", 10, TASK, HINTS, intensity, judge)
