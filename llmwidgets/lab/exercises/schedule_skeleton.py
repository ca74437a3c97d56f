"""The scheduler of lab 07: a loop with three gaps, and what belongs into them. Learners read all of it."""

from __future__ import annotations

import inspect
from typing import Any

_UNTYPED = "  # type: ignore[no-untyped-def]"  # learners write no types


def schedule(step, admit, budget, preempt):  # type: ignore[no-untyped-def]
    """Decide who computes how many tokens in one step."""
    for request in list(step.running):
        if request not in step.running:  # preempted a moment ago
            continue
        num_tokens = budget(step, request)
        while request in step.running and step.new_blocks(request, num_tokens) > step.free_blocks:
            preempt(step)
        if request in step.running:
            step.compute(request, num_tokens)

    while step.waiting and admit(step, step.waiting[0]):
        request = step.waiting[0]
        step.start(request)
        step.compute(request, budget(step, request))


def admit(step, request):  # type: ignore[no-untyped-def]
    """Return whether a request comes in: a slot, some budget, and room for all its tokens so far."""
    num_blocks = -(-len(request.token_ids) // step.block_size)
    return len(step.running) < step.max_num_seqs and step.token_budget > 0 and num_blocks <= step.free_blocks


def budget(step, request):  # type: ignore[no-untyped-def]
    """Return how many tokens of a request the step computes: those that are missing, as far as it can."""
    missing = len(request.token_ids) - request.num_computed_tokens
    return min(missing, step.token_budget)


def preempt(step):  # type: ignore[no-untyped-def]
    """Send the request that came in last back to the head of the queue, without its keys and values."""
    victim = step.running.pop()
    step.free(victim)
    victim.num_computed_tokens = 0
    step.waiting.insert(0, victim)


def source_of(function: Any) -> str:
    """Return the source of one of these as learners read it."""
    return inspect.getsource(function).replace(_UNTYPED, "").strip()
