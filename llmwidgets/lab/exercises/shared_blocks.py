"""What exercise 06.e3 grows sequences in, and what the engine's own copy on write costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmwidgets.records.events import Copy, Event
from llmwidgets.scheduling.block_pool import BlockPool

N = 4  # continuations of one prompt


class Blocks:
    """A pool whose blocks hold tokens, and a count of what is done to it."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.references = [0] * num_blocks
        self.held: list[list[Any]] = [[None] * block_size for _ in range(num_blocks)]
        self.num_copies = self.num_writes = 0

    def allocate(self) -> int:
        """Return a free block, with one reference."""
        if 0 not in self.references:
            raise ValueError("no block is free")
        block = self.references.index(0)
        self.references[block] = 1
        self.held[block] = [None] * self.block_size
        return block

    def free(self, block: int) -> None:
        """Take one reference away."""
        if self.references[block] == 0:
            raise ValueError(f"block {block} has no reference to give back")
        self.references[block] -= 1

    def copy(self, source: int, target: int) -> None:
        """Copy what a block holds."""
        self.held[target] = list(self.held[source])
        self.num_copies += 1

    def write(self, block: int, place: int, token: Any) -> None:
        """Put a token into a block."""
        self.held[block][place] = token
        self.num_writes += 1

    def read(self, table: Sequence[int], length: int) -> list[Any]:
        """Return the tokens of a sequence."""
        return [token for block in table for token in self.held[block]][:length]


@dataclass(frozen=True)
class Cost:
    """What four continuations cost."""

    num_copies: int
    blocks_in_use: int


def engine_cost(num_prompt: int, num_new: int, block_size: int) -> Cost:
    """Return what the engine's `BlockPool.fork` and `write` do with four continuations."""
    events: list[Event] = []
    pool = BlockPool(256, enable_prefix_caching=False, events=events)
    tables = [pool.allocate(-(-num_prompt // block_size), "0")]
    tables += [pool.fork(tables[0], str(index)) for index in range(1, N)]
    for position in range(num_prompt, num_prompt + num_new):
        for index, table in enumerate(tables):
            if position // block_size == len(table):
                table += pool.allocate(1, str(index))
            pool.write(table, position // block_size, str(index))
    return Cost(sum(isinstance(event, Copy) for event in events), 255 - pool.num_free_blocks)
