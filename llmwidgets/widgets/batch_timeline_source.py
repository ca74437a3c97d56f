"""What each request does in each step, as `BatchTimeline` draws it; here folded from a `Serving`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.schedule import ScheduledStep, scheduled_steps
from llmwidgets.records.serving import Serving

STATES = (
    "not arrived",
    "queued",
    "prefill",
    "decode",
    "speculated",
    "preempted",
    "finished",
    "idle",
    "padding",
)
"""Names of the codes 0, 1, 2, ... in `Timeline.states`."""
NOT_ARRIVED, QUEUED, PREFILL, DECODE, SPECULATED, PREEMPTED, FINISHED, IDLE, PADDING = range(len(STATES))
COMPUTING = (PREFILL, DECODE, SPECULATED)

Codes = NDArray[np.uint8]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Admission:
    """A step in which a request was admitted, or came back after a preemption."""

    step: int
    cached_tokens: int
    """Tokens found in the prefix cache, which are not computed."""


@dataclass(frozen=True)
class TimelineRow:
    """One request, or one of its children; times in the unit of its `Timeline`."""

    request_id: str
    parent_id: str
    """The request's own id; differs from `request_id` where `n` is above 1."""
    place: int
    """The request's number in the workload, which names its colour."""
    prompt_tokens: int | None
    finish_reason: str | None
    """`"stop"`, `"length"` or `"abort"`; None if it still ran at the end, or if it is not known."""
    ended: int | None
    """The last step in which it waited or ran; None if it still did at the end."""
    admissions: tuple[Admission, ...]
    shortfall: int
    """Tokens by which its prompt is shorter than the longest of its static batch."""
    ttft: float | None
    """From arrival to the first new token."""
    itl: Floats
    """Times between one new token and the next."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """What every request does in every step."""

    rows: tuple[TimelineRow, ...]
    states: Codes
    """Codes of `STATES`, (rows, steps). Prefill catches up with tokens that were given, or lost by
    preemption; decode computes the token sampled before, speculated several at once; a preempted request
    waits for its return; an idle one holds a slot of the batch and computes nothing."""
    tokens: Counts
    """Tokens computed, padding not included, (rows, steps)."""
    padding: Counts
    """Padding tokens computed besides, (rows, steps)."""
    new_tokens: Counts
    """Tokens sampled, (rows, steps)."""
    step_ends: Floats
    """When each step ended, in `unit`, (steps,)."""
    unit: Literal["steps", "seconds"]
    max_num_batched_tokens: int | None
    """Budget of tokens a step; None if it is not known."""
    max_num_seqs: int | None
    """Slots of the batch; None if it is not known."""

    @property
    def num_steps(self) -> int:
        """Steps, the columns of the picture."""
        return int(self.states.shape[1])

    @property
    def num_requests(self) -> int:
        """Requests; fewer than rows where `n` is above 1."""
        return len({row.parent_id for row in self.rows})

    @property
    def totals(self) -> dict[str, Counts]:
        """By step: tokens computed by kind, sequences that compute or idle in a slot, and that wait."""
        states = self.states
        computes = np.isin(states, COMPUTING)
        return {
            "prefill": np.where(states == PREFILL, self.tokens, 0).sum(axis=0),
            "decode": np.where((states != PREFILL) & computes, self.tokens, 0).sum(axis=0),
            "padding": self.padding.sum(axis=0),
            "running": computes.sum(axis=0),
            "idle": ((states == IDLE) | (states == PADDING)).sum(axis=0),
            "waiting": ((states == QUEUED) | (states == PREEMPTED)).sum(axis=0),
        }


Run = Serving | Timeline
"""What can be drawn."""


def last_step(run: Run) -> int:
    """Return the last step of a run; 0 if it has none."""
    return max(0, (run.num_steps if isinstance(run, Timeline) else len(run.log)) - 1)


def default_step(run: Run) -> int:
    """Return the step that is marked first: the busiest, or the last of a `Serving` that goes on."""
    if isinstance(run, Timeline):
        return 0
    ended = sum(metrics.finish_reason is not None for metrics in run.metrics.requests)
    goes_on = ended < sum(request.n for request in run.requests)
    return last_step(run) if goes_on else run.busiest_step


def continues(before: Run, now: Run) -> bool:
    """Return whether `now` is the same run as `before`, as long or longer."""
    if isinstance(before, Timeline) or isinstance(now, Timeline):
        return now is before
    if before.config != now.config or before.requests != now.requests or len(now.log) < len(before.log):
        return False
    same = max(0, len(before.log) - 1)  # an abort may have been added to the last step since
    return before.log[:same] == now.log[:same]


def drawn(run: Run) -> Timeline:
    """Return the timeline of a run; raise `ValueError` for anything else."""
    if isinstance(run, Timeline):
        return run
    if isinstance(run, Serving):
        return timeline_of(run)
    raise ValueError(f"a {type(run).__name__} is not allowed; allowed is a Serving, or from_arrays for rows")


def timeline_of(serving: Serving) -> Timeline:
    """Return the timeline of a record; raise `ValueError` if it was made without its steps."""
    if serving.metrics.num_steps and not serving.log:
        raise ValueError("this Serving holds no steps; make it with record='steps'")
    fold = _Fold(serving)
    for step in scheduled_steps(serving):
        fold.add(step)
    return fold.timeline()


class _Fold:
    """Fills the matrices step by step, (steps, rows): a step is one row in memory."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.requests = {name: request for request in serving.requests for name in request.sequence_ids}
        self.index = {name: row for row, name in enumerate(self.requests)}
        shape = (len(serving.log), len(self.index))
        self.states = np.full(shape, NOT_ARRIVED, np.uint8)
        self.tokens, self.new_tokens = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.last_seen = np.full(len(self.index), -1)  # the last step in which a row waited or ran
        self.admissions: dict[str, list[Admission]] = {name: [] for name in self.index}
        self.shortfall = dict.fromkeys(self.index, 0)
        self.preempted: set[str] = set()  # at least once: whoever of them waits has lost its blocks
        self.catching_up: set[str] = set()  # has sampled nothing since it was admitted or resumed

    def add(self, step: ScheduledStep) -> None:
        row = self.states[step.step]
        for name, cached_tokens in step.cached_tokens.items():
            self.admissions[name].append(Admission(step.step, cached_tokens))
        self.preempted.update(step.preempted)
        self.catching_up |= step.cached_tokens.keys()
        for name in step.waiting:
            row[self.index[name]] = PREEMPTED if name in self.preempted else QUEUED
        for name in (*step.running, *step.idle):
            row[self.index[name]] = IDLE
        for name, count in step.scheduled_tokens.items():
            several = count > 1 or step.num_sampled.get(name, 0) > 1
            row[self.index[name]] = PREFILL if name in self.catching_up else SPECULATED if several else DECODE
            self.tokens[step.step, self.index[name]] = count
        for name, count in step.num_sampled.items():
            self.new_tokens[step.step, self.index[name]] = count
        self.catching_up -= step.num_sampled.keys()
        self.last_seen[[self.index[name] for name in (*step.running, *step.waiting)]] = step.step
        lengths = {name: len(self.requests[name].prompt) for name in step.batch}
        self.shortfall |= {name: max(lengths.values()) - length for name, length in lengths.items()}

    def timeline(self) -> Timeline:
        rows = self._rows()
        for number, row in enumerate(rows):
            if row.ended is not None:
                after = self.states[row.ended + 1 :, number]
                after[after == NOT_ARRIVED] = FINISHED  # slots that idle after the end stay as they are
        return Timeline(
            rows=rows,
            states=self.states.T,
            tokens=self.tokens.T,
            padding=np.zeros_like(self.tokens.T),
            new_tokens=self.new_tokens.T,
            step_ends=_step_ends(self.serving),
            unit=self.serving.metrics.unit,
            max_num_batched_tokens=self.serving.config.max_num_batched_tokens,
            max_num_seqs=self.serving.config.max_num_seqs,
        )

    def _rows(self) -> tuple[TimelineRow, ...]:
        places = {request.request_id: place for place, request in enumerate(self.serving.requests)}
        arrived = {metrics.request_id: metrics for metrics in self.serving.metrics.requests}
        rows = []
        for name, request in self.requests.items():
            metrics = arrived.get(name)
            reason = metrics.finish_reason if metrics else None
            last = int(self.last_seen[self.index[name]])
            row = TimelineRow(
                request_id=name,
                parent_id=str(request.request_id),
                place=places[request.request_id],
                prompt_tokens=len(request.prompt),
                finish_reason=reason,
                ended=last if reason and last >= 0 else None,
                admissions=tuple(self.admissions[name]),
                shortfall=self.shortfall[name],
                ttft=metrics.ttft if metrics else None,
                itl=metrics.itl if metrics else np.zeros(0),
            )
            rows.append(row)
        return tuple(rows)


def _step_ends(serving: Serving) -> Floats:
    if serving.metrics.unit == "steps":  # the engine's clock also counts while there is nothing to run
        return np.array([log.iteration + 1 for log in serving.log], np.float64)
    return np.cumsum([log.wall_seconds or 0.0 for log in serving.log], dtype=np.float64)
