"""Exercise 07.e2: how many tokens of each request a step computes, held against what vLLM computed."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.schedule_advice import advice
from llmwidgets.lab.exercises.schedule_replay import Reasons, judge_schedule
from llmwidgets.lab.exercises.schedule_skeleton import admit, budget, preempt, schedule
from llmwidgets.lab.exercises.schedule_step import Step, UnsoundError
from llmwidgets.lab.exercises.verdict import Verdict
from llmwidgets.scheduling.sequence import Sequence

# Prompts that take three steps in the first, many short ones in the second; there is room for all.
RECORDINGS = ("long_prompt", "steady")

TASK = """The second function is `budget(step, request)`: how many tokens of `request` this step computes. It
is asked for each running request in its order, then for each that comes in.

- `request.token_ids` holds all its tokens so far. `request.num_computed_tokens` says how many of them have
  their keys and values in the cache, from steps before or from another request that began alike.
- `step.token_budget` is what the step can still compute. It is lowered after each of your answers.

There is no case for prompts and none for decoding: one line does for both. The check replays two recordings
of vLLM 0.32. In one of them prompts are about three times as long as the budget of a step."""

HINTS = (
    "A request that decodes has one token that is not computed yet: the one that was sampled last. A prompt "
    "has many. In both cases those are missing that it has and that are not computed.",
    "`missing = len(request.token_ids) - request.num_computed_tokens`. And if that is more than the step "
    "can still compute?",
    "`min(missing, step.token_budget)`: what is left of a prompt comes in the next step.",
)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Let an answer hand out the tokens of each step, in two recordings."""
    reasons = Reasons()
    answered = False

    def watched(step: Step, request: Sequence) -> int:
        nonlocal answered
        given = answer(step, request)
        if not answered and (given is None or given is ...):
            raise NotImplementedError
        answered = True
        if not hasattr(given, "__index__"):
            reasons.add("Return a whole number of tokens, 0 or more.")
            raise UnsoundError(f"gets {str(given)[:40]!r} tokens", request.request_id)
        num_tokens = index(given)
        if num_tokens != budget(step, request):
            reasons.add(_why(step, request, num_tokens))
        return num_tokens

    def decide(step: Step) -> None:
        schedule(step, admit, watched, preempt)

    return judge_schedule(RECORDINGS, decide, reasons, advice, "each step computes the same tokens")


def _why(step: Step, request: Sequence, given: int) -> str:
    name, has, computed = request.request_id, len(request.token_ids), request.num_computed_tokens
    missing, left, whole = has - computed, step.token_budget, step.max_num_batched_tokens
    if given > missing:
        return (
            f"{computed} of the {has} tokens of {name} are computed already: {missing} are missing, no more."
        )
    if given > left:
        if given == min(missing, whole):
            return (
                f"{whole} tokens is what a whole step can compute. Those before {name} have used some: "
                f"`step.token_budget` says that {left} are left."
            )
        return (
            f"The step can compute {left} tokens more, not {given}. A prompt that is longer comes in chunks, "
            "so that nobody who decodes waits for all of it."
        )
    if missing == 1 and given <= 0:
        return (
            f"{name} has all its prompt computed, and one token is missing: the one that it sampled last. "
            "Output tokens are computed too."
        )
    if given <= 0:
        return (
            f"{name} gets nothing, though {left} tokens are left. A prompt longer than the budget would "
            "never begin: let it have a part."
        )
    if given == 1:
        return f"Not everyone who runs decodes: {name} lacks {missing} tokens, the rest of its prompt."
    if given == min(missing, left) // step.block_size * step.block_size:
        return "A chunk may end anywhere, not only at the end of a block."
    if given == whole // step.max_num_seqs or given == left // max(1, len(step.running)):
        return "The budget is not shared out evenly: first come, first served, and each takes what it needs."
    return f"{name} has {missing} tokens missing and the step can compute {left}: the smaller of the two."


EXERCISE = Exercise("07.e2", "How many tokens", 10, TASK, HINTS, budget, judge)
