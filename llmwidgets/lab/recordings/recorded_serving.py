"""A recording of vLLM as a `Serving`, made of nothing but what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwidgets.lab.recordings import Recording
from llmwidgets.records.events import Add, Admit, Chunk, Event, Finish, Preempt, Resume
from llmwidgets.records.schedule import ScheduledStep
from llmwidgets.records.serving import Serving, StepLog
from llmwidgets.scheduling.measures import Counts, Trace


def recorded_serving(recording: Recording) -> Serving:
    """Return queues, tokens and times of a recording; which block lies where is not in it."""
    first = min(request.arrival for request in recording.requests)
    coming = sorted(recording.requests, key=lambda request: request.arrival)
    traces: dict[str, Trace] = {}
    counts = Counts()
    log: list[StepLog] = []
    computed: dict[str, int] = {}
    for raw, step in zip(recording.raw_steps, recording.steps, strict=True):
        iteration = first + step.step
        events: list[Event] = []
        while coming and coming[0].arrival <= iteration:
            request = coming.pop(0)
            name = str(request.request_id)
            events.append(Add(name, request.priority))
            traces[name] = Trace(len(request.prompt), float(iteration))
        events += _scheduling(step, raw, computed)
        computed = raw["computed_after"]
        ends = [Finish(name, reason) for name, reason in raw["finish"].items()]
        sampled = {name: tuple(tokens) for name, tokens in raw["sampled"].items()}
        log.append(StepLog(iteration, (*events, *ends), len(events), sampled))
        _measure(step, raw, iteration, traces)
        _count(raw, counts, recording.config.block_size)
    duration = float(first + len(log))
    metrics = counts.metrics(recording.config, traces, duration, unit="steps")
    return Serving(recording.config, recording.requests, tuple(log), recording.outputs, metrics)


def _scheduling(step: ScheduledStep, raw: Mapping[str, Any], computed: Mapping[str, int]) -> list[Event]:
    """Return what the step decided, in an order in which it folds to the recorded queues.

    `computed` has the tokens whose keys and values were there before, by request.
    """
    new = {entry["id"] for entry in raw["new"]}
    return [
        *(Preempt(name, computed[name]) for name in step.preempted),
        *(
            (Admit if name in new else Resume)(name, step.cached_tokens[name])
            for name in step.running
            if name in step.cached_tokens
        ),
        *(
            Chunk(name, raw["computed_after"][name] - num_tokens, num_tokens)
            for name, num_tokens in step.scheduled_tokens.items()
        ),
    ]


def _measure(
    step: ScheduledStep, raw: Mapping[str, Any], iteration: int, traces: Mapping[str, Trace]
) -> None:
    for name in step.preempted:
        traces[name].preemptions += 1
    for name, cached_tokens in step.cached_tokens.items():
        trace = traces[name]
        trace.hit_tokens += cached_tokens
        if trace.admitted is None:
            trace.admitted, trace.first_step = float(iteration), step.step
    for name, num_tokens in step.scheduled_tokens.items():
        stop = raw["computed_after"][name]
        traces[name].compute(stop - num_tokens, stop)
    for name, count in step.num_sampled.items():
        traces[name].token_times.extend([iteration + 1.0] * count)
    for name, reason in raw["finish"].items():
        traces[name].finish_reason, traces[name].last_step = reason, step.step


def _count(raw: Mapping[str, Any], counts: Counts, block_size: int) -> None:
    slots = block_size * sum(len(table) for table in raw["block_tables"].values())
    counts.scheduled_tokens.append(sum(raw["scheduled_tokens"].values()))
    counts.num_running.append(len(raw["running"]))
    counts.num_waiting.append(len(raw["waiting"]))
    counts.free_blocks.append(raw["free_blocks"])
    counts.unfilled_slots.append(slots - sum(raw["computed_after"].values()))
    counts.fragmented_slots.append(0)
    counts.idle_slots.append(0)
