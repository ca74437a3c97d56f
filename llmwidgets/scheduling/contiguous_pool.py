"""`ContiguousPool`: blocks in a row for each request, as engines gave them before paging."""

from __future__ import annotations

from llmwidgets.scheduling.block_pool import Block, BlockPool


class ContiguousPool(BlockPool):
    """Gives blocks that lie in a row, from the first hole that is large enough; shares nothing."""

    def can_allocate(self, count: int) -> bool:
        """Return whether so many blocks are free in a row."""
        return self._hole(count) is not None

    def allocate(self, count: int, request_id: str) -> list[Block]:
        """Take a row of blocks.

        Raises:
            ValueError: if no hole is large enough; nothing has changed then.
        """
        first = self._hole(count)
        if first is None:
            raise ValueError(f"count={count} is not allowed; no {count} free blocks lie in a row")
        taken = self.blocks[first : first + count]
        for block in taken:
            del self.free_queue[block.block_id]
            self._take(block, request_id)
        return taken

    def _hole(self, count: int) -> int | None:
        """Return the first block of the first hole of at least `count` free blocks."""
        first = 1  # block 0 is the null block
        for block in self.blocks[1:]:
            if block.ref_count > 0:
                first = block.block_id + 1
            elif block.block_id - first + 1 >= count:
                return first
        return None
