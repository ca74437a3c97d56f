"""Lab 07: right answers pass, each wrong one is turned down for its own reason, and drawn above vLLM's."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import IPython.display
import pytest
from exercise_cases import assert_turned_down, named

from llmwidgets.lab import check
from llmwidgets.lab.exercises import schedule_replay
from llmwidgets.lab.exercises.catalogue import find
from llmwidgets.lab.exercises.schedule_skeleton import admit, budget, preempt
from llmwidgets.lab.exercises.verdict import DrawnVerdict
from llmwidgets.lab.recordings import Recording, load_recording
from llmwidgets.widgets.batch_timeline import BatchTimeline


def ceil(num_tokens: int, size: int) -> int:
    return -(-num_tokens // size)


def admission(
    room: Callable[[Any, Any], int] = lambda step, request: len(request.token_ids),
    slots: bool = True,
    tokens: Callable[[Any, Any], int] = lambda step, request: 1,
    spare: int = 0,
) -> Callable[..., bool]:
    """Return an answer that asks for room for so many tokens, and for so much budget."""

    def answer(step: Any, request: Any) -> bool:
        return (
            (len(step.running) < step.max_num_seqs or not slots)
            and step.token_budget >= tokens(step, request)
            and ceil(room(step, request), step.block_size) + spare <= step.free_blocks
        )

    return answer


def chunk(step: Any, request: Any) -> int:
    return min(len(request.token_ids), step.token_budget)


WRONG_ADMISSION = {
    "4 of 4 slots are taken": admission(slots=False),
    "Step 4, r4: 60 tokens scheduled instead of not scheduled": lambda step, request: (
        admit(step, request) or len(step.running) == step.max_num_seqs
    ),
    "it would hold a slot and blocks, and compute nothing": admission(tokens=lambda step, request: 0),
    "It would be preempted half way": admission(room=chunk),
    "was preempted in this very step": lambda step, request: (
        admit(step, request) or request.request_id in step.preempted
    ),
    "comes back with what it has written": admission(room=lambda step, request: request.num_prompt_tokens),
    "for which it lacks 2 blocks, with 1 block free; in vLLM it waits": admission(
        room=lambda step, request: 0
    ),
    "it comes in all the same: with a chunk": admission(tokens=lambda step, request: len(request.token_ids)),
    "take 3 blocks and 3 are free: enough": admission(spare=1),
    "Nothing is kept for tokens that it has not written yet": admission(
        room=lambda step, request: request.num_prompt_tokens + request.max_tokens
    ),
    "rounded up they take 3 blocks, and 2 are free": admission(
        room=lambda step, request: len(request.token_ids) // step.block_size * step.block_size
    ),
    "are among the": lambda step, request: False,
    "raised ZeroDivisionError": lambda step, request: 1 // 0,
}


def missing(request: Any) -> int:
    return len(request.token_ids) - request.num_computed_tokens


def decoding_is_one(step: Any, request: Any) -> int:
    first = request.num_computed_tokens == 0
    return budget(step, request) if first else min(1, step.token_budget)


WRONG_BUDGET = {
    "A prompt that is longer comes in chunks": lambda step, request: missing(request),
    "Those before r1 have used some": lambda step, request: min(
        missing(request), step.max_num_batched_tokens
    ),
    "Step 0, r0: not scheduled instead of 128 tokens": lambda step, request: (
        missing(request) if missing(request) <= step.token_budget else 0
    ),
    "let it have a part": lambda step, request: budget(step, request) if missing(request) <= 300 else 0,
    "Not everyone who runs decodes": decoding_is_one,
    "Output tokens are computed too": lambda step, request: min(
        request.num_prompt_tokens - request.num_computed_tokens, step.token_budget
    ),
    "256 of the 326 tokens of r0 are computed already": lambda step, request: min(
        len(request.token_ids), step.token_budget
    ),
    "70 are missing, no more": lambda step, request: step.token_budget,
    "A chunk may end anywhere": lambda step, request: (
        budget(step, request) // 64 * 64 if budget(step, request) > 64 else budget(step, request)
    ),
    "first come, first served": lambda step, request: min(missing(request), 128 // 4),
    "the smaller of the two": lambda step, request: min(budget(step, request), 100),
    "Return a whole number of tokens": lambda step, request: "many",
    "it gets '0.5' tokens; in vLLM it computes 128 tokens": lambda step, request: 0.5,
}


def preemption(
    victim: Callable[[Any], Any] = lambda step: step.running[-1],
    leave: bool = True,
    free: bool = True,
    forget: bool = True,
    place: int | None = 0,
    tokens: bool = True,
) -> Callable[..., None]:
    """Return an answer that leaves some of it out."""

    def answer(step: Any) -> None:
        chosen = victim(step)
        if leave:
            step.running.remove(chosen)
        if free:
            step.free(chosen)
        if forget:
            chosen.num_computed_tokens = 0
        if not tokens:
            del chosen.token_ids[chosen.num_prompt_tokens :]
        if place is not None:
            step.waiting.insert(place, chosen)

    return answer


def everybody(step: Any) -> None:
    while step.running:
        preempt(step)


WRONG_PREEMPTION = {
    "r0 came in first, and all 36 tokens": preemption(victim=lambda step: step.running[0]),
    "Step 8, r5: not preempted instead of preempted": preemption(victim=lambda step: step.running[0]),
    "r5 has to go first": preemption(victim=lambda step: step.running[2]),
    "One victim at a time": everybody,
    "and still holds its blocks": preemption(free=False),
    "it neither runs nor waits": preemption(place=None),
    "The victim still runs": preemption(leave=False),
    "Step 8, r5: place 2 of waiting instead of place 0": preemption(place=99),
    "they overtake it (in the picture, where ≠ stands)": preemption(place=99),
    "It would go on from nothing": preemption(forget=False),
    "It keeps them: what it has written": preemption(tokens=False),
    "raised IndexError": lambda step: step.running[99],
}


def whole(
    blocks: Callable[[Any, Any], int] | None = None,
    admit_first: bool = False,
    overtake: bool = False,
    **parts: Any,
) -> Callable[..., None]:
    """Return a schedule with some of its parts replaced."""
    victim = parts.get("preempt", preempt)
    share = parts.get("budget", budget)

    def needed(step: Any, request: Any) -> int:
        hits = step.hits(request)
        used = sum(block.ref_count > 0 for block in hits)
        return ceil(len(request.token_ids), step.block_size) - used

    def come_in(step: Any) -> None:
        for request in list(step.waiting):
            slots = parts.get("slots", step.max_num_seqs)
            if step.token_budget <= 0 or len(step.running) >= slots:
                return
            if (blocks or needed)(step, request) <= step.free_blocks:
                step.start(request)
                step.compute(request, share(step, request))
            elif not overtake:
                return

    def answer(step: Any) -> None:
        if admit_first:
            come_in(step)
        for request in list(step.running):
            if request not in step.running or request.request_id in step.scheduled_tokens:
                continue
            num_tokens = share(step, request)
            while request in step.running and step.new_blocks(request, num_tokens) > step.free_blocks:
                victim(step)
            if request in step.running:
                step.compute(request, num_tokens)
        come_in(step)

    return answer


def endless(step: Any) -> None:
    while step.waiting:
        pass


WRONG_SCHEDULE = {
    "where others use them already": whole(
        blocks=lambda step, request: ceil(len(request.token_ids), step.block_size)
    ),
    "are among the free ones, until it takes them": whole(
        blocks=lambda step, request: ceil(len(request.token_ids), step.block_size) - len(step.hits(request))
    ),
    "Those who run take their share": whole(admit_first=True),
    "Nobody overtakes": whole(overtake=True),
    "its budget is 64": whole(budget=lambda step, request: missing(request)),
    "there are 4 slots": whole(slots=99),
    "The victim is the one that came in last": whole(preempt=preemption(victim=lambda step: step.running[0])),
    "head of waiting": whole(preempt=preemption(place=99)),
    "a loop does not end": endless,
    "runs, but was never started": lambda step: step.running.extend(step.waiting[:1]) or step.waiting.clear(),
    "shall compute, but does not run": lambda step: step.compute(step.waiting[0], 1),
    "No engine can run that step": lambda step: step.start(step.waiting.pop(0)),
}
WRONG = {
    "07.e1": WRONG_ADMISSION,
    "07.e2": WRONG_BUDGET,
    "07.e3": WRONG_PREEMPTION,
    "07.e4": WRONG_SCHEDULE,
}


@pytest.mark.parametrize(("which", "reason"), named(WRONG))
def test_a_wrong_answer_is_turned_down_for_its_own_reason(which: str, reason: str) -> None:
    assert_turned_down(which, WRONG[which][reason], reason)


def drawn(which: str, answer: Callable[..., Any]) -> BatchTimeline:
    verdict = check(which, answer)
    assert isinstance(verdict, DrawnVerdict)
    assert isinstance(verdict.figure, BatchTimeline)
    return verdict.figure


def test_a_wrong_answer_is_drawn_above_vllms_own_at_the_step_where_they_part() -> None:
    figure = drawn("07.e1", admission(room=chunk))
    assert (figure.step, figure.selected_request) == (23, "r5")
    assert (figure.badge, figure.against_badge) == ("COUNTED", "RECORDED")
    assert (figure.title, figure.against_title) == ("your schedule", "vLLM 0.32")
    assert "Step 23, r5: 60 tokens scheduled instead of not scheduled." in figure.to_text()
    assert figure.against.outputs == load_recording("pressure_nocache").outputs
    assert len(figure.against.log) == 95


def test_a_run_that_no_engine_can_go_on_with_is_drawn_as_far_as_it_came() -> None:
    figure = drawn("07.e1", admission(room=lambda step, request: 0))
    assert (len(figure.record.log), figure.step, figure.selected_request) == (8, 8, "r5")


def test_a_schedule_that_stalls_is_stopped() -> None:
    figure = drawn("07.e2", lambda step, request: 0)
    assert len(figure.record.log) == 50 + schedule_replay.MOST_EXTRA_STEPS


def test_a_right_answer_is_drawn_too_and_differs_nowhere() -> None:
    figure = drawn("07.e4", find("07.e4").reference)
    assert "First difference" not in figure.to_text()
    assert figure.selected_request is None


def test_a_notebook_shows_the_sentence_then_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", lambda thing, raw=False: shown.append(thing))
    verdict = check("07.e3", preemption(place=99))
    assert isinstance(verdict, DrawnVerdict)
    verdict._ipython_display_()
    assert shown == [{"text/plain": repr(verdict)}, verdict.figure]
    assert repr(verdict).startswith("✗ In the recording 'pressure_nocache' you part from vLLM. Step 8, r5: ")
    assert not hasattr(check("07.e3", None), "_ipython_display_")


@pytest.mark.parametrize("which", WRONG)
def test_the_judge_is_what_vllm_did_and_not_our_own_answer(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(name: str) -> Recording:
        recording = load_recording(name)
        steps = deepcopy(recording.raw_steps)
        steps[20]["scheduled_tokens"][steps[20]["running"][-1]] += 1
        return replace(recording, raw_steps=steps)

    monkeypatch.setattr(schedule_replay, "load_recording", altered)
    assert_turned_down(which, find(which).reference, "Step 20, ")


def test_what_the_check_fills_the_other_gaps_with_is_the_solution_of_those_exercises() -> None:
    assert [find(f"07.e{number}").reference for number in (1, 2, 3)] == [admit, budget, preempt]


def test_the_lab_says_what_a_victim_at_the_end_of_the_queue_costs() -> None:
    figure = drawn("07.e3", preemption(place=99))
    counts = [
        (run.metrics.num_steps, run.metrics.preemptions, run.metrics.recomputed_tokens)
        for run in (figure.record, figure.against)
    ]
    assert counts == [(89, 4, 265), (95, 2, 132)]


def test_blocks_found_in_the_cache_stay_findable_when_their_finder_is_sent_back_at_once() -> None:
    """In `prefix`, r3 comes in with 96 tokens from the cache; here it has to leave in the same step."""
    found = []

    def decide(step: Any) -> None:
        find("07.e4").reference(step)
        if not found and step.running[-1].request_id == "r3":
            preempt(step)
            step.scheduled_tokens.pop("r3")
            found.append(len(step.hits(step.waiting[0])))

    replayed = schedule_replay.replay(load_recording("prefix"), decide)
    assert found == [3]
    assert "r3: preempted instead of not preempted" in replayed.words
