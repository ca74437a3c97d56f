"""`ServingPacker`: the events of a `Serving` as integers, which the front end folds without a kernel.

Rows and steps only grow while a run grows, so what was folded from a shorter record of it stays true.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.events import (
    Abort,
    Add,
    Admit,
    Allocate,
    Batch,
    Cache,
    Chunk,
    Copy,
    Event,
    Evict,
    Fill,
    Finish,
    Free,
    Preempt,
    Resume,
    Share,
)
from llmwidgets.records.serving import Serving, StepLog

Row = tuple[int, int, int, int]
NONE = -1
KINDS: tuple[type[Event], ...] = (
    Allocate, Share, Fill, Cache, Evict, Copy, Free, Add, Admit, Resume, Preempt, Finish, Abort,
)  # fmt: skip
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


class ServingPacker:
    """Packs the records of one run; a longer record costs only its new steps.

    A row has five integers: kind (a place in `KINDS`), block, sequence, start, stop; -1 where there is none.
    `Copy` has its source block as start, `Add` the rank of its priority, `Cache` the numbers of its hash and
    of its parent's as start and stop. `Chunk` and `Batch` are left out: a chunk's fills say the same, and a
    static batch touches neither blocks nor queues.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.sequences = [
            {"id": name, "request": request.request_id, "place": place, "child": child}
            for place, request in enumerate(serving.requests)
            for child, name in enumerate(request.sequence_ids)
        ]
        self._numbers = {str(sequence["id"]): number for number, sequence in enumerate(self.sequences)}
        self._tokens = [
            list(request.prompt) if not isinstance(request.prompt, str) else []
            for request in serving.requests
            for _ in request.sequence_ids
        ]
        ranks = sorted({request.priority for request in serving.requests})
        self._ranks = {priority: rank for rank, priority in enumerate(ranks)}
        self._hashes: dict[int, int] = {}  # hash -> its number
        self._rows = array("i")
        self._first_rows: list[int] = []
        self._scheduling_rows: list[int] = []
        self._num_packed_events = 0  # of the last step that was packed
        self._append(serving.log, 0)

    def continues(self, serving: Serving) -> bool:
        """Return whether `serving` is the packed run, as long as before or longer."""
        old, new = self._serving, serving
        if len(new.log) < len(old.log) or old.config != new.config or old.requests != new.requests:
            return False
        if not old.log:
            return True
        *before, last = old.log
        same = new.log[len(before)]  # the last step may have got more events since
        return all(mine is theirs for mine, theirs in zip(before, new.log, strict=False)) and (
            same is last or (same.sampled == last.sampled and same.events[: len(last.events)] == last.events)
        )

    def extend(self, serving: Serving) -> None:
        """Pack what a longer record of the same run has more."""
        before = len(self._serving.log)
        if before:
            self._append_events(serving.log[before - 1].events[self._num_packed_events :])
        self._append(serving.log, before)
        self._serving = serving

    def wire(self) -> dict[str, Any]:
        """Return the packed run: names, and arrays of int32.

        Raises:
            ValueError: for a token id beyond 32 bits.
        """
        lengths = [len(tokens) for tokens in self._tokens]
        return {
            "sequences": self.sequences,
            "kinds": [kind.__name__ for kind in KINDS],
            "rows": np.array(self._rows, np.int32).reshape(-1, 5),
            "first_rows": np.array([*self._first_rows, len(self._rows) // 5], np.int32),  # (steps + 1,)
            "scheduling_rows": np.array(self._scheduling_rows, np.int32),  # of each step, before the model's
            "tokens": _token_array(self._tokens),  # prompt and output of one sequence after the other
            "token_offsets": np.cumsum([0, *lengths], dtype=np.int32),
            # The first eight of sixteen hexadecimal digits are what is shown of a hash.
            "hashes": np.array([h >> 32 for h in self._hashes], np.uint32).view(np.int32),
        }

    def _append(self, log: tuple[StepLog, ...], first: int) -> None:
        for step in log[first:]:
            self._first_rows.append(len(self._rows) // 5)
            self._num_packed_events = 0
            self._append_events(step.events[: step.num_scheduling_events])
            self._scheduling_rows.append(len(self._rows) // 5 - self._first_rows[-1])
            self._append_events(step.events[step.num_scheduling_events :])
            for name, token_ids in step.sampled.items():
                self._tokens[self._numbers[name]].extend(token_ids)

    def _append_events(self, events: tuple[Event, ...]) -> None:
        self._num_packed_events += len(events)
        for event in events:
            if not isinstance(event, (Chunk, Batch)):
                row = self._row(event)  # refuses an unknown event
                self._rows.extend((_NUMBERS[type(event)], *row))

    def _row(self, event: Event) -> Row:
        number = self._numbers
        match event:
            case Fill(block_id, name, start, stop):
                return block_id, number[name], start, stop
            case Allocate(block_id, name) | Share(block_id, name) | Free(block_id, name):
                return block_id, number[name], NONE, NONE
            case Cache(block_id, block_hash, parent_hash):
                parent = NONE if parent_hash is None else self._hash_number(parent_hash)
                return block_id, NONE, self._hash_number(block_hash), parent
            case Evict(block_id):
                return block_id, NONE, NONE, NONE
            case Copy(source, block_id, name):
                return block_id, number[name], source, NONE
            case Add(name, priority):
                return NONE, number[name], self._ranks[priority], NONE
            case Admit(name, tokens) | Resume(name, tokens) | Preempt(name, tokens):
                return NONE, number[name], tokens, NONE
            case Finish(name) | Abort(name):
                return NONE, number[name], NONE, NONE
            case _:
                raise ValueError(f"{event!r} is not an event that can be drawn")

    def _hash_number(self, block_hash: int) -> int:
        return self._hashes.setdefault(block_hash, len(self._hashes))


def _token_array(sequences: list[list[int]]) -> NDArray[np.int32]:
    try:
        return np.array([token for tokens in sequences for token in tokens], np.int32)
    except OverflowError:
        most = max((token for tokens in sequences for token in tokens), key=abs)
        raise ValueError(f"token id {most} is not allowed; allowed are 32-bit integers") from None
