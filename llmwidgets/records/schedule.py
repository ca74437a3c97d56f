"""The queues of a `Serving` step by step without its blocks, and where two schedules first differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from llmwidgets.records.events import (
    Admit,
    Allocate,
    Batch,
    Cache,
    Chunk,
    Copy,
    Event,
    Evict,
    Fill,
    Free,
    Preempt,
    Resume,
    ServingState,
    Share,
)
from llmwidgets.records.record import Record
from llmwidgets.records.serving import Serving

_OF_BLOCKS = (Allocate, Cache, Copy, Evict, Fill, Free, Share)  # most events; the queues do without them

What = Literal["preempted", "scheduled_tokens", "running", "waiting", "steps"]


@dataclass(frozen=True)
class ScheduledStep:
    """What a `ServingStep` says of queues; made faster than one, since no block is followed."""

    step: int
    batch: tuple[str, ...]
    """Requests of the static batch that was formed in this step; empty if none was."""
    cached_tokens: dict[str, int]
    """Tokens found in the prefix cache, by request admitted or resumed."""
    preempted: tuple[str, ...]
    scheduled_tokens: dict[str, int]
    """Tokens computed, by request in the order of scheduling."""
    running: tuple[str, ...]
    waiting: tuple[str, ...]
    idle: tuple[str, ...]
    """Requests of a static batch that have ended and keep their slots."""
    num_sampled: dict[str, int]
    """New tokens by request."""


def scheduled_steps(serving: Serving) -> Iterator[ScheduledStep]:
    """Yield the steps of a run; queues are as they were after scheduling, before requests ended."""
    config = serving.config
    by_priority = config.scheduling_policy == "priority"
    state = ServingState(config.block_size, config.num_gpu_blocks, by_priority, {})
    for step, log in enumerate(serving.log):
        before, after = log.events[: log.num_scheduling_events], log.events[log.num_scheduling_events :]
        events = [event for event in before if not isinstance(event, _OF_BLOCKS)]
        state.fold(events)
        preempted = tuple(e.request_id for e in events if isinstance(e, Preempt))
        yield ScheduledStep(
            step=step,
            batch=next((e.request_ids for e in events if isinstance(e, Batch)), ()),
            cached_tokens={e.request_id: e.cached_tokens for e in events if isinstance(e, (Admit, Resume))},
            preempted=preempted,
            scheduled_tokens=_chunks(events, preempted),
            running=tuple(state.running),
            waiting=tuple(state.waiting),
            idle=state.idle,
            num_sampled={name: len(tokens) for name, tokens in log.sampled.items()},
        )
        state.fold([event for event in after if not isinstance(event, _OF_BLOCKS)])


@dataclass(frozen=True, slots=True, repr=False)
class ScheduleDifference(Record):
    """The first thing that two schedules of a workload do differently."""

    step: int
    request_id: str
    """The first request that is treated differently."""
    what: What
    """`"preempted"`, `"scheduled_tokens"`, `"running"` or `"waiting"`, whichever comes first in this order;
    `"steps"` if one run ends where the other goes on."""
    mine: int | None
    """Tokens, or the place in that queue, counted from 0; None if it is not there."""
    other: int | None

    def to_text(self) -> str:
        """Return the difference as a sentence."""
        here, there = self._words(self.mine), self._words(self.other)
        return f"Step {self.step}, {printable(self.request_id)}: {here} instead of {there}."

    def _words(self, value: int | None) -> str:
        if self.what == "steps":
            return f"a run of {value} steps"
        if self.what == "scheduled_tokens":
            tokens = "1 token" if value == 1 else f"{value} tokens"
            return "not scheduled" if value is None else f"{tokens} scheduled"
        if self.what == "preempted":
            return "not preempted" if value is None else "preempted"
        return f"not {self.what}" if value is None else f"place {value} of {self.what}"


def first_difference(mine: Serving, other: Serving) -> ScheduleDifference | None:
    """Return where two runs of one workload first part, or None if they do the same in every step.

    Compared are preemptions, tokens computed, the running queue and the waiting queue, each in its order;
    blocks and sampled tokens are not.

    Args:
        mine: the run in question.
        other: the run that it is held against.
    """
    for left, right in zip_longest(scheduled_steps(mine), scheduled_steps(other)):
        longer = left or right
        if left is None or right is None:
            first = next(iter((*longer.scheduled_tokens, *longer.running, *longer.waiting)), "")
            return ScheduleDifference(longer.step, first, "steps", len(mine.log), len(other.log))
        if (found := step_difference(left, right)) is not None:
            return found
    return None


def step_difference(mine: ScheduledStep, other: ScheduledStep) -> ScheduleDifference | None:
    """Return the first thing that two steps do differently, or None; compared as in `first_difference`."""
    compared: tuple[tuple[What, Mapping[str, int], Mapping[str, int]], ...] = (
        ("preempted", _places(mine.preempted), _places(other.preempted)),
        ("scheduled_tokens", mine.scheduled_tokens, other.scheduled_tokens),
        ("running", _places(mine.running), _places(other.running)),
        ("waiting", _places(mine.waiting), _places(other.waiting)),
    )
    for what, here, there in compared:
        for name in (*there, *here):
            if here.get(name) != there.get(name):
                return ScheduleDifference(mine.step, name, what, here.get(name), there.get(name))
    return None


def printable(text: str) -> str:
    """Return a text that cannot command a terminal: escaped if it holds anything but plain signs."""
    return text if text.isprintable() else ascii(text)


def _chunks(events: list[Event], preempted: tuple[str, ...]) -> dict[str, int]:
    chunks = {event.request_id: event.num_tokens for event in events if isinstance(event, Chunk)}
    return {name: count for name, count in chunks.items() if name not in preempted}


def _places(queue: tuple[str, ...]) -> Mapping[str, int]:
    return {name: place for place, name in enumerate(queue)}
