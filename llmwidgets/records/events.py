"""What a scheduler and its blocks did, one small event each, and the state that folds from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmwidgets.records.record import Record

FinishReason = Literal["stop", "length"]


class Event(Record):
    """Base of all events."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class Allocate(Event):
    """A free block became the next one of a request's table."""

    block_id: int
    request_id: str


@dataclass(frozen=True, slots=True, repr=False)
class Share(Event):
    """A block with the wanted tokens was found and became the next one of a request's table."""

    block_id: int
    request_id: str


@dataclass(frozen=True, slots=True, repr=False)
class Fill(Event):
    """The positions `start` to `stop` (not included) of a request's sequence are written to a block."""

    block_id: int
    request_id: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, repr=False)
class Cache(Event):
    """A full block can from now on be found by its tokens and all before them."""

    block_id: int
    block_hash: int
    parent_hash: int | None
    """Hash of the block before it in the sequence; None for the first."""


@dataclass(frozen=True, slots=True, repr=False)
class Evict(Event):
    """A block can no longer be found."""

    block_id: int


@dataclass(frozen=True, slots=True, repr=False)
class Copy(Event):
    """A request was about to write to a shared block: it got its own copy in the same place of its table."""

    source_block_id: int
    block_id: int
    request_id: str


@dataclass(frozen=True, slots=True, repr=False)
class Free(Event):
    """A request gave up its reference to the last block of its table."""

    block_id: int
    request_id: str


@dataclass(frozen=True, slots=True, repr=False)
class Add(Event):
    """A request began to wait."""

    request_id: str
    priority: int


@dataclass(frozen=True, slots=True, repr=False)
class Batch(Event):
    """A static batch was formed: nobody else is admitted until all of its requests have ended."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Admit(Event):
    """A request runs for the first time."""

    request_id: str
    cached_tokens: int
    """Tokens found in the prefix cache."""


@dataclass(frozen=True, slots=True, repr=False)
class Resume(Event):
    """A preempted request runs again, from the tokens found in the prefix cache."""

    request_id: str
    cached_tokens: int


@dataclass(frozen=True, slots=True, repr=False)
class Chunk(Event):
    """The step computes `num_tokens` tokens of a request, from position `start` on."""

    request_id: str
    start: int
    num_tokens: int


@dataclass(frozen=True, slots=True, repr=False)
class Preempt(Event):
    """A running request lost its blocks, waits again, and will be computed again."""

    request_id: str
    computed_tokens: int
    """Tokens whose keys and values are given up; some may be found again in the prefix cache."""


@dataclass(frozen=True, slots=True, repr=False)
class Finish(Event):
    """A request ended."""

    request_id: str
    reason: FinishReason


@dataclass(frozen=True, slots=True, repr=False)
class Abort(Event):
    """A request was taken away, waiting or running."""

    request_id: str


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """How a cached block is found."""

    block_hash: int
    parent_hash: int | None


@dataclass
class ServingState:
    """Queues and blocks at one moment: the fold of all events before it."""

    block_size: int
    num_gpu_blocks: int
    by_priority: bool
    """Whether waiting requests are ordered by priority, then by arrival."""
    token_ids: dict[str, list[int]]
    """Prompt and tokens sampled so far, by sequence id."""
    running: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    computed: dict[str, int] = field(default_factory=dict)
    """Tokens whose keys and values are there, by running request."""
    block_tables: dict[str, list[int]] = field(default_factory=dict)
    """Block ids by running request."""
    ref_counts: dict[int, int] = field(default_factory=dict)
    """References by block in use."""
    block_token_ids: dict[int, list[int]] = field(default_factory=dict)
    """What was written to each block since it was last allocated."""
    cached: dict[int, CacheEntry] = field(default_factory=dict)
    """The blocks that can be found by their tokens."""
    order: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Priority and number of arrival by request."""
    batch: tuple[str, ...] = ()
    """Requests of the static batch, those that have ended included; empty under continuous batching."""

    @property
    def idle(self) -> tuple[str, ...]:
        """Requests of the static batch that have ended and keep their slots while the batch goes on."""
        there = {*self.running, *self.waiting}
        return tuple(name for name in self.batch if name not in there) if self.running else ()

    @property
    def free_blocks(self) -> int:
        """Length of the free queue: all blocks but the null block and those with references."""
        return self.num_gpu_blocks - 1 - len(self.ref_counts)

    def fold(self, events: Sequence[Event]) -> None:
        """Apply events in order."""
        for event in events:
            self._apply(event)

    def sample(self, sampled: Mapping[str, Sequence[int]]) -> None:
        """Append a step's new tokens."""
        for request_id, token_ids in sampled.items():
            self.token_ids[request_id].extend(token_ids)

    def _apply(self, event: Event) -> None:
        match event:
            case Chunk(request_id, start, num_tokens):
                self.computed[request_id] = start + num_tokens
            case Fill(block_id, request_id, start, stop):
                written = self.block_token_ids[block_id]
                written[start % self.block_size :] = self.token_ids[request_id][start:stop]
            case Allocate(block_id, request_id):
                self.block_tables[request_id].append(block_id)
                self.ref_counts[block_id] = 1
                self.block_token_ids[block_id] = []
            case Share(block_id, request_id):
                self.block_tables.setdefault(request_id, []).append(block_id)
                self.ref_counts[block_id] = self.ref_counts.get(block_id, 0) + 1
            case Free(block_id, request_id):
                self.block_tables[request_id].remove(block_id)
                self._release(block_id)
            case Copy(source, block_id, request_id):
                table = self.block_tables[request_id]
                table[table.index(source)] = block_id
                self.ref_counts[block_id] = 1
                self.block_token_ids[block_id] = list(self.block_token_ids[source])
                self._release(source)
            case Cache(block_id, block_hash, parent_hash):
                self.cached[block_id] = CacheEntry(block_hash, parent_hash)
            case Evict(block_id):
                del self.cached[block_id]
            case Add(request_id, priority):
                self.order[request_id] = (priority, len(self.order))
                self.waiting.append(request_id)
                self._sort()
            case Admit(request_id, cached_tokens) | Resume(request_id, cached_tokens):
                self.waiting.remove(request_id)
                self.running.append(request_id)
                self.block_tables[request_id] = []
                self.computed[request_id] = cached_tokens
            case Batch(request_ids):
                self.batch = request_ids
            case Preempt(request_id):
                self._leave(request_id)
                self.waiting.insert(0, request_id)
                self._sort()
            case Finish(request_id) | Abort(request_id):
                self._leave(request_id)
            case _:
                raise ValueError(f"{event!r} is not an event that can be folded")

    def _leave(self, request_id: str) -> None:
        """Take a request out of its queue; its blocks go with the Free events that follow."""
        (self.running if request_id in self.running else self.waiting).remove(request_id)
        self.computed.pop(request_id, None)

    def _release(self, block_id: int) -> None:
        self.ref_counts[block_id] -= 1
        if self.ref_counts[block_id] == 0:
            del self.ref_counts[block_id]
            if block_id not in self.cached:
                del self.block_token_ids[block_id]

    def _sort(self) -> None:
        if self.by_priority:
            self.waiting.sort(key=self.order.__getitem__)
