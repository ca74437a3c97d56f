"""Exercise 07.e1: which waiting request comes in, held against what vLLM let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.schedule_advice import advice
from llmwidgets.lab.exercises.schedule_replay import Reasons, judge_schedule
from llmwidgets.lab.exercises.schedule_skeleton import admit, budget, preempt, schedule, source_of
from llmwidgets.lab.exercises.schedule_step import Step
from llmwidgets.lab.exercises.verdict import Verdict
from llmwidgets.scheduling.sequence import Sequence

RECORDINGS = ("steady", "pressure_nocache")  # slots and budget decide in the first, room in the second

TASK = f"""This is a scheduler. It is called once a step, and three functions are missing:

```python
{source_of(schedule)}
```

Write the first, `admit(step, request)`: True if `request`, the head of the queue, comes in now. Three
things must be there, and each is one comparison:

- a slot: at most `step.max_num_seqs` requests run, and those that do are in the list `step.running`;
- budget: the step can still compute `step.token_budget` tokens;
- room: the tokens of a request take blocks of `step.block_size`, and `step.free_blocks` are free. Room for
  which tokens? Those that it computes in this step, all that it has so far, or those too that it may still
  write? That is the question. vLLM has answered it, and the check shows you where you part.

`request.token_ids` is the list of all its tokens so far, prompt and output. The check fills the other two
gaps and replays two recordings of vLLM 0.32."""

HINTS = (
    "Return `a and b and c`. Slot and budget: `len(step.running) < step.max_num_seqs` and "
    "`step.token_budget > 0`. Part of a prompt is enough to begin with, so the budget need not hold it all.",
    "How many blocks do `n` tokens take? The last may be partly filled: `-(-n // step.block_size)` rounds "
    "up. Look at step 23 of `pressure_nocache`: there is room for a chunk of `r5`, but not for all of it.",
    "Room for all tokens that it has so far, and no more: "
    "`-(-len(request.token_ids) // step.block_size) <= step.free_blocks`.",
)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Let an answer decide who comes in, in two recordings."""
    reasons = Reasons()
    answered = False

    def watched(step: Step, request: Sequence) -> bool:
        nonlocal answered
        should = admit(step, request)
        given = answer(step, request)
        if not answered and (given is None or given is ...):
            raise NotImplementedError
        answered = True
        if bool(given) != should:
            reasons.add(_too_early(step, request) if given else _too_late(step, request))
        return bool(given)

    def decide(step: Step) -> None:
        schedule(step, watched, budget, preempt)

    return judge_schedule(RECORDINGS, decide, reasons, advice, "the same requests come in at the same time")


def _too_early(step: Step, request: Sequence) -> str:
    if len(step.running) >= step.max_num_seqs:
        return f"{len(step.running)} of {step.max_num_seqs} slots are taken: there is none for one more."
    if step.token_budget <= 0:
        return "The budget is used up: it would hold a slot and blocks, and compute nothing in this step."
    name, tokens, free = request.request_id, len(request.token_ids), step.free_blocks
    if request.num_preemptions and _blocks(step, request.num_prompt_tokens) <= free:
        return (
            f"{name} was preempted and comes back with what it has written: {tokens} tokens, not the "
            f"{request.num_prompt_tokens} of its prompt. All of them are computed again."
        )
    if name in step.preempted:
        return (
            f"{name} was preempted in this very step, to make room. Ask for room for all its tokens, and it "
            "cannot come back at once."
        )
    if _blocks(step, min(tokens, step.token_budget)) <= free:
        return (
            f"There is room for its first chunk, but not for all its {tokens} tokens: rounded up they take "
            f"{_blocks(step, tokens)} blocks, and {free} are free. It would be preempted half way."
        )
    return f"Its {tokens} tokens take {_blocks(step, tokens)} blocks, rounded up, and {free} are free."


def _too_late(step: Step, request: Sequence) -> str:
    tokens, needed, free = len(request.token_ids), _blocks(step, len(request.token_ids)), step.free_blocks
    if needed == free or _blocks(step, request.num_prompt_tokens + request.max_tokens) > free:
        return (
            f"Its tokens so far take {needed} blocks and {free} are free: enough. Nothing is kept for tokens "
            "that it has not written yet; where blocks run out, vLLM preempts."
        )
    if tokens > step.token_budget:
        return (
            f"Its {tokens} tokens are more than the {step.token_budget} that the budget has left, and it "
            "comes in all the same: with a chunk of them. The others follow in later steps."
        )
    return f"There is a slot, there is budget, and its {needed} blocks are among the {free} that are free."


def _blocks(step: Step, num_tokens: int) -> int:
    return -(-num_tokens // step.block_size)


EXERCISE = Exercise("07.e1", "Who comes in", 15, TASK, HINTS, admit, judge)
