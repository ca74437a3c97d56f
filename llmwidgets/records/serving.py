"""`Serving`: what a serving engine did with a workload, step by step."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, overload

from llmwidgets.records.events import (
    Abort,
    Admit,
    Chunk,
    Event,
    Finish,
    FinishReason,
    Preempt,
    Resume,
    ServingState,
)
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.records.record import Record
from llmwidgets.records.request import Request
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.records.serving_metrics import ServingMetrics


@dataclass(frozen=True, slots=True, repr=False)
class StepLog(Record):
    """What is kept of one step; all else about it is folded from the events."""

    iteration: int
    """The engine's clock, by which requests arrive; unlike steps, it counts while there is nothing to run."""
    events: tuple[Event, ...]
    """In order: requests added and aborted before the step, its scheduling, and how requests ended in it."""
    num_scheduling_events: int
    """How many of the events lie before the model's step: after them, the tables are those that it used."""
    sampled: dict[str, tuple[int, ...]]
    """New tokens by request."""
    cpu_seconds: float | None = None
    """CPU time of the step, all threads together; None where no model ran."""
    wall_seconds: float | None = None
    """Time on the clock; None where no model ran."""


@dataclass(frozen=True)
class NewRequest:
    """A request that was admitted for the first time."""

    id: str
    prompt_len: int
    cached_tokens: int


@dataclass(frozen=True)
class BlockState:
    """A block that is in use, or cached, or both."""

    block_id: int
    ref_count: int
    block_hash: str | None
    """Eight hexadecimal digits; None if the block cannot be found by its tokens."""
    parent_hash: str | None
    """Hash of the block before it; None for the first of a sequence or without a hash."""
    token_ids: tuple[int, ...]
    """What was written to it, or is written by the step."""


@dataclass(frozen=True)
class ServingStep:
    """One step: queues and blocks as they were after scheduling, before requests ended."""

    step: int
    iteration: int
    new: tuple[NewRequest, ...]
    """Requests admitted for the first time."""
    resumed: tuple[str, ...]
    """Requests that came back after a preemption."""
    preempted: tuple[str, ...]
    finished_before: tuple[str, ...]
    """Requests that ended, or were aborted, since the scheduling of the step before."""
    scheduled_tokens: dict[str, int]
    """Tokens computed, by request in the order of scheduling."""
    running: tuple[str, ...]
    waiting: tuple[str, ...]
    idle: tuple[str, ...]
    """Requests of a static batch that have ended and keep their slots; empty under continuous batching."""
    computed_after: dict[str, int]
    """Tokens whose keys and values are there, by running request, once the step has run."""
    block_tables: dict[str, tuple[int, ...]]
    """Block ids, by running request."""
    free_blocks: int
    """Length of the free queue; cached blocks without references are in it."""
    usage: float
    """Share of the pool in use."""
    blocks: tuple[BlockState, ...]
    """Blocks in use or cached, by id."""
    sampled: dict[str, tuple[int, ...]]
    finish: dict[str, FinishReason]
    """Requests that ended in the step, and why."""
    events: tuple[Event, ...]
    cpu_seconds: float | None
    wall_seconds: float | None


class ServingSteps(Sequence[ServingStep]):
    """The steps of a run, each folded from the events when it is asked for; going forwards is fast."""

    def __init__(self, config: ServingConfig, requests: Sequence[Request], log: Sequence[StepLog]) -> None:
        """Make a view of a log, which may still grow at its end."""
        self._config, self._requests, self._log = config, requests, log
        self._lock = threading.Lock()
        self._state = self._start()
        self._next = 0  # the step whose events were not folded yet

    def __len__(self) -> int:
        return len(self._log)

    @overload
    def __getitem__(self, index: int) -> ServingStep: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ServingStep, ...]: ...
    def __getitem__(self, index: int | slice) -> ServingStep | tuple[ServingStep, ...]:
        """Return a step; a negative index counts from the end."""
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"step {index} is not there; the run has {len(self)} steps")
        index %= len(self)
        with self._lock:
            if index < self._next:
                self._state, self._next = self._start(), 0
            while self._next < index:
                self._fold_rest(self._log[self._next], 0)
                self._next += 1
            log = self._log[index]
            self._next = len(self) + 1  # an interrupt in the middle makes the next access start anew
            self._state.fold(log.events[: log.num_scheduling_events])
            step = self._view(index)
            self._fold_rest(log, log.num_scheduling_events)
            self._next = index + 1
        return step

    def _start(self) -> ServingState:
        tokens = {
            name: list(request.prompt)
            for request in self._requests
            if not isinstance(request.prompt, str)
            for name in request.sequence_ids
        }
        by_priority = self._config.scheduling_policy == "priority"
        return ServingState(self._config.block_size, self._config.num_gpu_blocks, by_priority, tokens)

    def _fold_rest(self, log: StepLog, first: int) -> None:
        self._state.fold(log.events[first:])
        self._state.sample(log.sampled)

    def _view(self, index: int) -> ServingStep:
        log, state = self._log[index], self._state
        before = self._log[index - 1].events[self._log[index - 1].num_scheduling_events :] if index else ()
        events = log.events[: log.num_scheduling_events]
        preempted = tuple(e.request_id for e in events if isinstance(e, Preempt))
        scheduled = {e.request_id: e.num_tokens for e in events if isinstance(e, Chunk)}
        return ServingStep(
            step=index,
            iteration=log.iteration,
            new=tuple(
                NewRequest(e.request_id, len(state.token_ids[e.request_id]), e.cached_tokens)
                for e in events
                if isinstance(e, Admit)
            ),
            resumed=tuple(e.request_id for e in events if isinstance(e, Resume)),
            preempted=preempted,
            finished_before=tuple(e.request_id for e in (*before, *events) if isinstance(e, (Finish, Abort))),
            scheduled_tokens={name: count for name, count in scheduled.items() if name not in preempted},
            running=tuple(state.running),
            waiting=tuple(state.waiting),
            idle=state.idle,
            computed_after={name: state.computed[name] for name in state.running},
            block_tables={name: tuple(state.block_tables[name]) for name in state.running},
            free_blocks=state.free_blocks,
            usage=1 - state.free_blocks / (state.num_gpu_blocks - 1),
            blocks=tuple(_block(state, block_id) for block_id in sorted({*state.ref_counts, *state.cached})),
            sampled=log.sampled,
            finish={e.request_id: e.reason for e in log.events if isinstance(e, Finish)},
            events=log.events,
            cpu_seconds=log.cpu_seconds,
            wall_seconds=log.wall_seconds,
        )


@dataclass(frozen=True, repr=False, eq=False)
class Serving(Record):
    """A workload, the knobs, and what happened."""

    default_view: ClassVar[str | tuple[str, ...] | None] = (
        "llmwidgets.widgets.batch_timeline:BatchTimeline",
        "llmwidgets.widgets.kv_cache_grid:KVCacheGrid",
    )

    config: ServingConfig
    requests: tuple[Request, ...]
    """As they were served: with ids, token ids and `max_tokens`."""
    log: tuple[StepLog, ...]
    """One entry a step; empty if only a summary was kept."""
    outputs: dict[str, tuple[int, ...]]
    """New tokens by request, by child where `n` is above 1; as far as they came for aborted ones."""
    metrics: ServingMetrics
    model: str = ""
    """Name of the model; empty if tokens were given."""
    kv_shape: KVShape | None = None
    """How large the keys and values of one token are; None if no model ran."""

    @cached_property
    def steps(self) -> ServingSteps:
        """Each step as a `ServingStep`, folded from the events when asked for."""
        return ServingSteps(self.config, self.requests, self.log)

    @property
    def busiest_step(self) -> int:
        """The first step at which the fewest blocks were free; 0 if there is none."""
        free = self.metrics.free_blocks
        return int(free.argmin()) if len(free) else 0

    def __repr__(self) -> str:
        """Return one line with the counts."""
        metrics = self.metrics
        return (
            f"Serving({len(self.requests)} requests, {metrics.num_steps} steps, "
            f"{metrics.output_tokens} output tokens, {metrics.preemptions} preemptions, "
            f"{metrics.hit_tokens} hit tokens)"
        )


def _block(state: ServingState, block_id: int) -> BlockState:
    entry = state.cached.get(block_id)
    return BlockState(
        block_id,
        state.ref_counts.get(block_id, 0),
        None if entry is None else _short(entry.block_hash),
        None if entry is None or entry.parent_hash is None else _short(entry.parent_hash),
        tuple(state.block_token_ids[block_id]),
    )


def _short(block_hash: int) -> str:
    return f"{block_hash:016x}"[:8]
