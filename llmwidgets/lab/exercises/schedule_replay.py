"""`replay`: a learner's scheduler over a workload that the real vLLM ran, held against it step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmwidgets.lab.exercises.schedule_step import Step, SteppedScheduler, UnsoundError
from llmwidgets.lab.exercises.verdict import DrawnVerdict, Verdict, right, wrong
from llmwidgets.lab.recordings import Recording, load_recording
from llmwidgets.records.schedule import ScheduleDifference, ScheduledStep, step_difference
from llmwidgets.records.serving import Serving
from llmwidgets.scheduling.scheduler import SchedulerOutput
from llmwidgets.scheduling.serving_run import ServingRun

MOST_EXTRA_STEPS = 40  # beyond vLLM's own; a schedule that stalls would go on for ever

Decide = Callable[[Step], Any]


@dataclass(frozen=True)
class Replay:
    """What a scheduler did with a recorded workload."""

    recording: Recording
    serving: Serving
    """Its run, as far as it came."""
    step: int
    """The first step that is not vLLM's; the number of steps if there is none."""
    request_id: str | None = None
    """The first request in that step that is treated otherwise."""
    words: str = ""
    """What both do there; empty if all is the same."""
    mine: ScheduledStep | None = None
    """The whole step; None if it could not be run."""

    @property
    def vllms(self) -> ScheduledStep | None:
        """What vLLM did in that step; None if it was done by then."""
        return self.recording.steps[self.step] if self.step < len(self.recording.steps) else None

    def drawn(self, verdict: Verdict) -> Verdict:
        """Return the verdict with a picture: this run above vLLM's own."""
        if not self.serving.log:
            return verdict
        from llmwidgets.widgets.batch_timeline import BatchTimeline

        marked = {"step": self.step, "selected_request": self.request_id} if self.words else {}
        figure = BatchTimeline(
            self.serving,
            against=self.recording.serving,
            title="your schedule",
            against_title="vLLM 0.32",
            against_badge="RECORDED",
            **marked,
        )
        return DrawnVerdict(verdict.ok, verdict.message, verdict.next_step, figure=figure)


@dataclass
class Reasons:
    """The first thing that an answer did otherwise than a right one, in words."""

    first: str = ""

    def add(self, reason: str) -> None:
        """Keep a reason if it is the first."""
        self.first = self.first or reason


def replay(recording: Recording, decide: Decide) -> Replay:
    """Run a recorded workload with its own tokens, and with the decisions of a function.

    Args:
        recording: the workload, and vLLM's steps.
        decide: is handed each `Step`; an error of its own passes through.
    """
    run = ServingRun(recording.requests, recording.config)
    run.scheduler = scheduler = SteppedScheduler(recording.config, run.scheduler.events, decide)
    found: tuple[ScheduleDifference, ScheduledStep] | None = None
    for number in range(len(recording.steps) + MOST_EXTRA_STEPS):
        try:
            output = run.begin_step()
        except UnsoundError as error:
            if found:
                break
            words = _unsound(number, error, recording)
            return Replay(recording, run.snapshot(), number, error.request_id or None, words)
        if output is None:
            break
        if found is None:
            mine = _seen(number, scheduler, output)
            if (difference := _difference(mine, recording.steps)) is not None:
                found = difference, mine
        sampled = {
            name: recording.outputs[name][scheduler.sequences[name].num_output_tokens]
            for name in output.to_sample
        }
        run.end_step(sampled)
    serving = run.snapshot()
    if found is None:
        return Replay(recording, serving, len(serving.log))
    difference, mine = found
    return Replay(recording, serving, difference.step, difference.request_id, difference.to_text(), mine)


def judge_schedule(
    names: Sequence[str],
    decide: Decide,
    reasons: Reasons,
    explain: Callable[[Replay], str],
    praise: str,
) -> Verdict:
    """Replay recordings one after the other, up to the first that a schedule does not follow.

    Args:
        names: the recordings.
        decide: the schedule.
        reasons: where `decide` leaves what it did wrong first.
        explain: says what to look at where `decide` left nothing.
        praise: what is said of a schedule that follows all.
    """
    num_steps = 0
    for name in names:
        reasons.first = ""
        done = replay(load_recording(name), decide)
        if done.words:
            said = f"In the recording {name!r} you part from vLLM. {done.words}"
            return done.drawn(wrong(said, reasons.first or explain(done)))
        num_steps += len(done.recording.steps)
    return done.drawn(right(f"{praise}: {num_steps} of {num_steps} steps are vLLM's"))


def _unsound(number: int, error: UnsoundError, recording: Recording) -> str:
    """Return why a step cannot be run, and what vLLM does with that request in it."""
    name = error.request_id
    if not name or number >= len(recording.steps):
        return f"Step {number}: {error}."
    vllms = recording.steps[number]
    count = vllms.scheduled_tokens.get(name, 0)
    computes = f"computes {count} token{'s' if count > 1 else ''}"
    does = computes if count else "waits" if name in vllms.waiting else "does not wait"
    return f"Step {number}, {name}: it {error}; in vLLM it {does}."


def _seen(number: int, scheduler: SteppedScheduler, output: SchedulerOutput) -> ScheduledStep:
    """Return the step as the lists have it; unlike the log, they know in which order a victim waits."""
    return ScheduledStep(
        step=number,
        batch=(),
        cached_tokens=output.cached_tokens,
        preempted=tuple(output.preempted),
        scheduled_tokens=output.scheduled_tokens,
        running=tuple(sequence.request_id for sequence in scheduler.running),
        waiting=tuple(sequence.request_id for sequence in scheduler.waiting),
        idle=(),
        num_sampled={},
    )


def _difference(mine: ScheduledStep, steps: Sequence[ScheduledStep]) -> ScheduleDifference | None:
    if mine.step < len(steps):
        return step_difference(mine, steps[mine.step])
    return ScheduleDifference(
        mine.step, (*mine.running, *mine.waiting)[0], "steps", mine.step + 1, len(steps)
    )
