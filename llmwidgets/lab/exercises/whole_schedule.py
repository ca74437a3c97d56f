"""Exercise 07.e4: a whole scheduler, held against all that was recorded of vLLM's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.schedule_advice import advice
from llmwidgets.lab.exercises.schedule_replay import Reasons, judge_schedule
from llmwidgets.lab.exercises.schedule_step import Step
from llmwidgets.lab.exercises.verdict import Verdict

RECORDINGS = ("steady", "long_prompt", "pressure_nocache", "prefix", "pressure")

TASK = """Write all of it, `schedule(step)`, without gaps. What you wrote above may be called, and nothing is
returned. The check replays five recordings of vLLM 0.32, 358 steps. One of them, `pressure`, needs something
new, for in it prefixes are shared and blocks are scarce:

- `step.hits(request)` lists the blocks in the prefix cache that a waiting request would begin with. After
  `step.start(request)` it holds them, and their tokens count as computed.
- A hit with `block.ref_count > 0` is in use by others: it needs no room. One with `ref_count == 0` is among
  `step.free_blocks`, and it is taken from there.

So how many free blocks must there be? Nobody overtakes: while the head of the queue cannot come in, nobody
does."""

HINTS = (
    "Begin with the scheduler of 07.e1 and your three functions. Four recordings pass then; `pressure` asks "
    "for better arithmetic in `admit`.",
    "From the blocks of all its tokens take away `len(hits)`. Then add those hits again that lie among the "
    "free blocks, for there they will be missing.",
    "`num_blocks - len(hits) + sum(block.ref_count == 0 for block in hits)` is how many it needs, where "
    "`num_blocks` is what all its tokens take. It comes in if that is at most `step.free_blocks`.",
)


def schedule(step):  # type: ignore[no-untyped-def]  # shown to learners, who write no types
    """Decide one step as vLLM V1 does: those who run, then those who wait."""
    for request in list(step.running):
        if request not in step.running:  # preempted a moment ago
            continue
        num_tokens = min(len(request.token_ids) - request.num_computed_tokens, step.token_budget)
        while request in step.running and step.new_blocks(request, num_tokens) > step.free_blocks:
            victim = step.running.pop()
            step.free(victim)
            victim.num_computed_tokens = 0
            step.waiting.insert(0, victim)
        if request in step.running:
            step.compute(request, num_tokens)

    while step.waiting and step.token_budget > 0 and len(step.running) < step.max_num_seqs:
        request = step.waiting[0]
        hits = step.hits(request)
        num_blocks = -(-len(request.token_ids) // step.block_size)
        if num_blocks - len(hits) + sum(block.ref_count == 0 for block in hits) > step.free_blocks:
            break
        step.start(request)
        step.compute(request, min(len(request.token_ids) - request.num_computed_tokens, step.token_budget))


def judge(answer: Callable[..., Any]) -> Verdict:
    """Let an answer decide every step of all recordings."""
    answered = False

    def decide(step: Step) -> None:
        nonlocal answered
        before = len(step.running), len(step.waiting), len(step.scheduled_tokens)
        answer(step)
        if not answered and before == (len(step.running), len(step.waiting), len(step.scheduled_tokens)):
            raise NotImplementedError
        answered = True

    return judge_schedule(RECORDINGS, decide, Reasons(), advice, "a scheduler like vLLM's")


EXERCISE = Exercise("07.e4", "vLLM's scheduler", 30, TASK, HINTS, schedule, judge)
