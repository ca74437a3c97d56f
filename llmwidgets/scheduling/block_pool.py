"""`BlockPool`: who holds which block, which blocks are free, and which can be found by their tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from llmwidgets.records.events import Allocate, Cache, Copy, Event, Evict, Free, Share
from llmwidgets.scheduling.prefix import Prefix


class Block:
    """Room for the keys and values of `block_size` tokens."""

    __slots__ = ("block_id", "prefix", "ref_count")

    def __init__(self, block_id: int) -> None:
        self.block_id = block_id
        self.ref_count = 0
        """How many block tables it stands in."""
        self.prefix: Prefix | None = None
        """What it is found by; None if it cannot be found."""

    def __repr__(self) -> str:
        return f"Block({self.block_id}, ref_count={self.ref_count}, cached={self.prefix is not None})"


class BlockPool:
    """The blocks of a KV cache.

    A block lies in the free queue exactly when no table refers to it. Those that can still be found stay
    findable there, until they come to the front and are taken: the queue evicts the least recently used.
    Block 0 is the null block, which is never given out.
    """

    def __init__(
        self, num_gpu_blocks: int, enable_prefix_caching: bool = True, events: list[Event] | None = None
    ) -> None:
        """Make a pool in which all blocks are free.

        Args:
            num_gpu_blocks: blocks, the null block included; at least 2.
            enable_prefix_caching: whether `cache` makes blocks findable.
            events: where to append what happens; None to leave it out.
        """
        if num_gpu_blocks < 2:
            raise ValueError(f"num_gpu_blocks={num_gpu_blocks} is not allowed; allowed is at least 2")
        self.blocks = [Block(block_id) for block_id in range(num_gpu_blocks)]
        self.enable_prefix_caching = enable_prefix_caching
        self.events = events
        # An OrderedDict is a doubly linked list with a look-up: each step below is O(1).
        self.free_queue: OrderedDict[int, Block] = OrderedDict((b.block_id, b) for b in self.blocks[1:])
        self.by_hash: dict[int, OrderedDict[int, Block]] = {}

    @property
    def num_free_blocks(self) -> int:
        """Length of the free queue."""
        return len(self.free_queue)

    def find(self, prefixes: Sequence[Prefix]) -> list[Block]:
        """Return the blocks that hold the longest run of `prefixes` from the first on; nothing changes."""
        found: list[Block] = []
        for prefix in prefixes:
            same_hash = self.by_hash.get(prefix.block_hash, OrderedDict())
            block = next(
                (b for b in same_hash.values() if b.prefix is not None and b.prefix.matches(prefix)), None
            )
            if block is None:
                break
            found.append(block)
        return found

    def can_allocate(self, count: int) -> bool:
        """Return whether `allocate` would find so many blocks."""
        return count <= len(self.free_queue)

    def allocate(self, count: int, request_id: str) -> list[Block]:
        """Take blocks from the front of the free queue, evicting those that could be found.

        Raises:
            ValueError: if fewer are free; nothing has changed then.
        """
        if not self.can_allocate(count):
            raise ValueError(f"count={count} is not allowed; free blocks are {len(self.free_queue)}")
        taken = []
        for _ in range(count):
            _, block = self.free_queue.popitem(last=False)
            self._take(block, request_id)
            taken.append(block)
        return taken

    def share(self, blocks: Sequence[Block], request_id: str) -> None:
        """Add a reference to each block, which may be free or in use."""
        for block in blocks:
            if block.ref_count == 0:
                del self.free_queue[block.block_id]
            block.ref_count += 1
            if self.events is not None:
                self.events.append(Share(block.block_id, request_id))

    def cache(self, block: Block, prefix: Prefix) -> None:
        """Make a full block in use findable; without prefix caching, do nothing."""
        if not self.enable_prefix_caching or block.prefix is not None:
            return
        block.prefix = prefix
        self.by_hash.setdefault(prefix.block_hash, OrderedDict())[block.block_id] = block
        if self.events is not None:
            self.events.append(Cache(block.block_id, prefix.block_hash, prefix.parent_hash))

    def evict(self, block: Block) -> None:
        """Make a block unfindable, if it was findable."""
        if block.prefix is None:
            return
        same_hash = self.by_hash[block.prefix.block_hash]
        del same_hash[block.block_id]
        if not same_hash:
            del self.by_hash[block.prefix.block_hash]
        block.prefix = None
        if self.events is not None:
            self.events.append(Evict(block.block_id))

    def free(self, block_table: Sequence[Block], request_id: str) -> None:
        """Drop one reference to each block of a table, the last block first.

        Blocks without references that nobody could find go to the front of the queue, to be taken next in
        the order of the walk; findable ones to its end, so that a sequence's first blocks, which others may
        share, stay longest.
        """
        unfindable: list[Block] = []
        for block in reversed(block_table):
            block.ref_count -= 1
            if self.events is not None:
                self.events.append(Free(block.block_id, request_id))
            if block.ref_count == 0:
                self.free_queue[block.block_id] = block
                if block.prefix is None:
                    unfindable.append(block)
        for block in reversed(unfindable):
            self.free_queue.move_to_end(block.block_id, last=False)

    def fork(self, block_table: Sequence[Block], request_id: str) -> list[Block]:
        """Return a table for a second sequence over the same blocks (PagedAttention, section 4.4).

        The last block may be partly filled: before either sequence writes to it, it calls `write`.
        """
        self.share(block_table, request_id)
        return list(block_table)

    def write(self, block_table: list[Block], index: int, request_id: str) -> Block:
        """Return the block of `block_table[index]` to write to; a shared one is first replaced by a copy.

        Copying keys and values from the block that stood there is the caller's.

        Raises:
            ValueError: if a copy is needed and no block is free; nothing has changed then.
        """
        block = block_table[index]
        if block.ref_count == 1:
            return block
        if not self.free_queue:
            raise ValueError(f"block {block.block_id} is shared and no block is free for a copy")
        _, copy = self.free_queue.popitem(last=False)
        self.evict(copy)
        copy.ref_count = 1
        block.ref_count -= 1
        block_table[index] = copy
        if self.events is not None:
            self.events.append(Copy(block.block_id, copy.block_id, request_id))
        return copy

    def _take(self, block: Block, request_id: str) -> None:
        """Give a block that has left the free queue its first reference."""
        self.evict(block)
        block.ref_count = 1
        if self.events is not None:
            self.events.append(Allocate(block.block_id, request_id))

    def check_integrity(self) -> None:
        """Raise RuntimeError unless each block is free or in use, and the look-up holds what it should."""
        in_use = [block for block in self.blocks[1:] if block.ref_count > 0]
        _require(1 + len(self.free_queue) + len(in_use) == len(self.blocks), "a block is lost or twice there")
        _require(self.blocks[0].ref_count == 0 and 0 not in self.free_queue, "the null block was given out")
        for block in self.blocks:
            free = block.block_id in self.free_queue
            _require(block.ref_count >= 0, f"{block} has fewer than 0 references")
            _require(
                free == (block.ref_count == 0 and block.block_id > 0), f"{block}: in the queue is {free}"
            )
        findable = {b.block_id for same_hash in self.by_hash.values() for b in same_hash.values()}
        _require(
            findable == {b.block_id for b in self.blocks if b.prefix}, "the look-up and the blocks differ"
        )
        for block_hash, same_hash in self.by_hash.items():
            for block in same_hash.values():
                right = block.prefix is not None and block.prefix.block_hash == block_hash
                _require(right, f"{block} is found by another hash")


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise RuntimeError(f"the block pool is inconsistent: {sentence}")
