"""Which waiting request may be admitted next: continuous batching, and the static batches before it."""

from __future__ import annotations

from collections.abc import Container
from collections.abc import Sequence as Many
from typing import Protocol

from llmwidgets.records.events import Batch, Event
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.sequence import Sequence


class Batching(Protocol):
    """Says who may be admitted; whether there is room for it is the scheduler's question."""

    padded_tokens: int
    """Tokens by which prompts are shorter than the longest of their static batch."""

    def open(self, waiting: Many[Sequence], unfinished: Container[str]) -> None:
        """Take note of who waits, and of the ids of all who wait or run, before a step is scheduled."""

    def candidate(self, waiting: Many[Sequence]) -> Sequence | None:
        """Return the next request that may be admitted; None if there is none."""

    def num_idle(self, unfinished: Container[str]) -> int:
        """Return how many slots stand idle because their request has ended before its batch."""


class ContinuousBatching:
    """The first of the queue may always come in (Yu et al. 2022, Orca, section 3.1)."""

    padded_tokens = 0

    def open(self, waiting: Many[Sequence], unfinished: Container[str]) -> None:
        """Do nothing: no step depends on the one before."""

    def candidate(self, waiting: Many[Sequence]) -> Sequence | None:
        """Return the first of the queue."""
        return waiting[0] if waiting else None

    def num_idle(self, unfinished: Container[str]) -> int:
        """Return 0: a slot is free as soon as its request has ended."""
        return 0


class StaticBatching:
    """A batch is formed when the last one has ended as a whole; until then nobody else comes in."""

    def __init__(self, size: int, events: list[Event] | None = None) -> None:
        """Form batches of up to `size` requests; a new one is appended to `events`."""
        self.size = size
        self.events = events
        self.members: tuple[str, ...] = ()
        self.padded_tokens = 0

    def open(self, waiting: Many[Sequence], unfinished: Container[str]) -> None:
        """Form a batch if all members of the last one have ended."""
        if not any(member in unfinished for member in self.members):
            batch = waiting[: self.size]
            self.members = tuple(sequence.request_id for sequence in batch)
            lengths = [sequence.num_prompt_tokens for sequence in batch]
            self.padded_tokens += max(lengths, default=0) * len(lengths) - sum(lengths)
            if batch and self.events is not None:
                self.events.append(Batch(self.members))

    def candidate(self, waiting: Many[Sequence]) -> Sequence | None:
        """Return the first of the queue that belongs to the batch."""
        return next((sequence for sequence in waiting if sequence.request_id in self.members), None)

    def num_idle(self, unfinished: Container[str]) -> int:
        """Return how many of the batch have ended."""
        return sum(member not in unfinished for member in self.members)


def batching_of(config: ServingConfig, events: list[Event] | None) -> Batching:
    """Return the batching that a config names."""
    if config.batching == "continuous":
        return ContinuousBatching()
    return StaticBatching(config.max_num_seqs if config.batching == "static" else 1, events)
