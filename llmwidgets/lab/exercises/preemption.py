"""Exercise 07.e3: who gives up its blocks when they run out, and what else goes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.schedule_advice import advice
from llmwidgets.lab.exercises.schedule_replay import Reasons, judge_schedule
from llmwidgets.lab.exercises.schedule_skeleton import admit, budget, preempt, schedule
from llmwidgets.lab.exercises.schedule_step import Step, UnsoundError
from llmwidgets.lab.exercises.verdict import Verdict
from llmwidgets.scheduling.sequence import Sequence

RECORDINGS = ("pressure_nocache",)  # eleven blocks for up to six requests: they run out twice

TASK = """The third function is `preempt(step)`. A running request lacks a block, and none is free: somebody
must give up its blocks. Choose the victim, and do what goes with it:

- `step.running` is the list of those that run, in the order in which they came in. The victim leaves it.
- `step.free(victim)` gives its blocks back to the pool.
- `victim.num_computed_tokens` says how many of its tokens have keys and values in blocks. How many now?
- `step.waiting` is the queue, and its head comes in next. The victim waits again. Where?

It keeps its tokens, those too that it has written: somebody has read them. All of them will be computed once
more. Who is the victim, then, under first come, first served? Nothing is returned. The check replays a
recording of vLLM 0.32 in which blocks run out twice."""

HINTS = (
    "Whoever came in last has computed least, as a rule, and is the last of `step.running`: "
    "`victim = step.running.pop()`.",
    "Without its blocks, none of its tokens has keys and values any more: `victim.num_computed_tokens = 0`. "
    "And it was there before all that wait now.",
    "Four lines: `victim = step.running.pop()`, `step.free(victim)`, `victim.num_computed_tokens = 0`, "
    "`step.waiting.insert(0, victim)`.",
)


@dataclass(frozen=True)
class Before:
    """What there was before a preemption."""

    running: tuple[Sequence, ...]
    waiting: tuple[Sequence, ...]
    num_preempted: int
    num_tokens: dict[str, int]
    num_computed: dict[str, int]

    @classmethod
    def of(cls, step: Step) -> Before:
        """Note what a step holds."""
        running = tuple(step.running)
        return cls(
            running,
            tuple(step.waiting),
            len(step.preempted),
            {request.request_id: len(request.token_ids) for request in running},
            {request.request_id: request.num_computed_tokens for request in running},
        )


def judge(answer: Callable[..., Any]) -> Verdict:
    """Let an answer preempt in a recording."""
    reasons = Reasons()
    answered = False

    def watched(step: Step) -> None:
        nonlocal answered
        before = Before.of(step)
        answer(step)
        unchanged = Before.of(step) == before
        if unchanged and not answered:
            raise NotImplementedError
        answered = True
        reasons.add(_why(step, before))
        if len(step.preempted) == before.num_preempted:  # the scheduler would ask again for ever
            raise UnsoundError("nobody's blocks are freed")

    def decide(step: Step) -> None:
        schedule(step, admit, budget, watched)

    return judge_schedule(RECORDINGS, decide, reasons, advice, "the same requests go, and come back in turn")


def _why(step: Step, before: Before) -> str:
    """Return what is wrong with a preemption; empty if nothing is."""
    victims = [request for request in before.running if request not in step.running]
    freed = step.preempted[before.num_preempted :]
    if not victims:
        return "The victim still runs: take it out of `step.running`."
    if len(victims) > 1:
        return "One victim at a time: the scheduler asks again if that was not enough."
    victim, name = victims[0], victims[0].request_id
    if name not in freed:
        return f"{name} no longer runs, and still holds its blocks: `step.free(victim)`."
    if victim is not before.running[-1]:
        if victim is before.running[0]:
            return (
                f"{name} came in first, and all {before.num_computed[name]} tokens that it has computed are "
                "lost. vLLM takes the one that came in last."
            )
        last = before.running[-1].request_id
        return f"{name} is not the last that came in. Under first come, first served, {last} has to go first."
    if victim not in step.waiting:
        return f"{name} is lost: it neither runs nor waits. Let it wait again."
    if len(victim.token_ids) != before.num_tokens[name]:
        return f"{name} has lost tokens. It keeps them: what it has written was shown to somebody."
    if step.waiting[0] is not victim:
        return (
            f"{name} was there before those that wait, and at the end of the queue they overtake it (in the "
            "picture, where ≠ stands): put it at the head."
        )
    if victim.num_computed_tokens:
        return (
            f"The keys and values of {before.num_computed[name]} tokens are gone with the blocks of {name}, "
            f"yet its `num_computed_tokens` says {victim.num_computed_tokens}. It would go on from nothing."
        )
    return ""


EXERCISE = Exercise("07.e3", "Who has to leave", 15, TASK, HINTS, preempt, judge)
