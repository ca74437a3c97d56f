"""Exercise 06.e1: a pool of blocks with references, held against the engine's own over random operations."""

# mypy: disable-error-code="no-untyped-def"
# Its class is shown to learners, who write no types.

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong
from llmwidgets.scheduling.block_pool import BlockPool as EnginePool

NUM_OPERATIONS = 500
SIZES = (1, 4, 12)

TASK = """Write the class `BlockPool`: which blocks of the KV cache are free, and how many block tables hold
each of the others.

- `BlockPool(num_blocks)` has the blocks `0` to `num_blocks - 1`, all free.
- `allocate()` returns a free block, which then has one reference. With none left it raises `ValueError`.
- `share(block)` adds a reference: a second table holds the block too.
- `free(block)` takes one reference away. When the last one is gone, the block is free again.
- `num_free()` returns how many blocks are free.

The check does 500 random operations on pools of three sizes, and after each one compares yours with the
pool that `engine.serve` uses. At the end all references are given back: not one block may be lost."""

HINTS = (
    "Two attributes are enough: a list of free blocks, and for each block how many references it has.",
    "`allocate` takes a block from the list and sets its count to 1. `share` and `free` change the count; "
    "when does a block go back to the list?",
    "`free`: `self.references[block] -= 1`, then `if self.references[block] == 0: "
    "self.free_blocks.append(block)`.",
)


class BlockPool:
    """Free blocks, and references to the others."""

    def __init__(self, num_blocks):
        self.free_blocks = list(range(num_blocks))
        self.references = [0] * num_blocks

    def allocate(self):
        """Return a free block, with one reference."""
        if not self.free_blocks:
            raise ValueError("no block is free")
        block = self.free_blocks.pop(0)
        self.references[block] = 1
        return block

    def share(self, block):
        """Add a reference."""
        self.references[block] += 1

    def free(self, block):
        """Take one reference away; without any, the block is free again."""
        self.references[block] -= 1
        if self.references[block] == 0:
            self.free_blocks.append(block)

    def num_free(self):
        """Return how many blocks are free."""
        return len(self.free_blocks)


class Trial:
    """A learner's pool and the engine's, through the same operations."""

    def __init__(self, pool: Any, num_blocks: int) -> None:
        self._pool = pool
        self._engine = EnginePool(
            num_blocks + 1, enable_prefix_caching=False
        )  # its block 0 is never given out
        self._held: dict[int, Any] = {}  # a learner's block → the engine's block that stands for it
        self._num_blocks = num_blocks
        self.num_operations = 0

    def run(self, draw: random.Random) -> Verdict | None:
        """Do random operations, then give everything back."""
        verdict = self._counted("A new pool", "All blocks are free at first.")
        while verdict is None and self.num_operations < NUM_OPERATIONS:
            verdict = self._operate(draw.choice(["allocate", "allocate", "share", "free", "free"]), draw)
        while verdict is None and self._held:
            verdict = self._operate("free", draw)
        return verdict

    def _operate(self, name: str, draw: random.Random) -> Verdict | None:
        self.num_operations += 1
        if name == "allocate":
            return self._allocate()
        if not self._held:
            return None
        block = draw.choice(list(self._held))
        twin = self._held[block]
        if name == "share":
            self._engine.share([twin], "r")
            self._pool.share(block)
            return self._counted(f"share({block})", "Another reference takes no free block, and frees none.")
        self._engine.free([twin], "r")
        self._pool.free(block)
        if twin.ref_count > 0:
            return self._counted(
                f"free({block})", f"Another table still holds it ({twin.ref_count} left): keep it."
            )
        del self._held[block]
        return self._counted(f"free({block})", "Its last reference is gone: put it among the free blocks.")

    def _allocate(self) -> Verdict | None:
        if not self._engine.can_allocate(1):
            return self._allocate_none()
        block = self._pool.allocate()
        if block is None or block is ...:
            return not_attempted()
        if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < self._num_blocks:
            return wrong(
                f"allocate() returns {block!r} in a pool of {self._num_blocks}.",
                f"Blocks are the numbers 0 to {self._num_blocks - 1}.",
            )
        if block in self._held:
            return wrong(
                f"allocate() gives out block {block}, which a table still holds.",
                "Take it from the free blocks, and let it stand there once only.",
            )
        self._held[block] = self._engine.allocate(1, "r")[0]
        return self._counted("allocate()", "It takes one free block.")

    def _allocate_none(self) -> Verdict | None:
        next_step = "Raise ValueError: then a scheduler knows that it has to preempt somebody."
        try:
            block = self._pool.allocate()
        except ValueError:
            return self._counted("allocate() without a free block", "Nothing changes.")
        except Exception as error:
            return wrong(f"With no block left allocate() raises {type(error).__name__}.", next_step)
        return wrong(f"With no block left allocate() returns {block!r}.", next_step)

    def _counted(self, after: str, next_step: str) -> Verdict | None:
        given, expected = self._pool.num_free(), self._engine.num_free_blocks
        if given is None or given is ...:
            return not_attempted()
        if given == expected:
            return None
        return wrong(f"After {after} num_free() returns {given}; {expected} blocks are free.", next_step)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Hold pools of several sizes against the engine's."""
    for num_blocks in SIZES:
        pool = answer(num_blocks)
        if pool is None or pool is ...:
            return not_attempted()
        verdict = Trial(pool, num_blocks).run(random.Random(0))
        if verdict is not None:
            return verdict
    return right(
        f"{len(SIZES)} pools, {NUM_OPERATIONS} operations each: as many free blocks as in the engine's pool "
        "after every one, none lost at the end"
    )


EXERCISE = Exercise("06.e1", "Who holds which block", 15, TASK, HINTS, BlockPool, judge)
