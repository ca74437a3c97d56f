"""`Prefix`: all tokens of a sequence up to the end of one full block, as a chain of hashes."""

from __future__ import annotations

from collections.abc import Sequence


class Prefix:
    """One full block's tokens and, through `parent`, all tokens before them.

    The hash finds a candidate; `matches` compares tokens, so two prefixes whose hashes collide stay apart.
    """

    __slots__ = ("block_hash", "parent", "token_ids")

    def __init__(self, parent: Prefix | None, token_ids: tuple[int, ...]) -> None:
        self.parent = parent
        self.token_ids = token_ids
        self.block_hash: int = chain_hash(None if parent is None else parent.block_hash, token_ids)

    @property
    def parent_hash(self) -> int | None:
        """Hash of the block before; None for the first."""
        return None if self.parent is None else self.parent.block_hash

    def matches(self, other: Prefix) -> bool:
        """Return whether both hold the same tokens from the first on."""
        mine: Prefix | None = self
        theirs: Prefix | None = other
        while mine is not theirs:  # chains that were found in the cache join here after one block
            if mine is None or theirs is None or mine.token_ids != theirs.token_ids:
                return False
            mine, theirs = mine.parent, theirs.parent
        return True


def chain_hash(parent_hash: int | None, token_ids: Sequence[int]) -> int:
    """Return the hash of a block: it depends on its tokens and on its parent's hash; the same in each run."""
    return hash((0 if parent_hash is None else parent_hash, *token_ids)) & 0xFFFF_FFFF_FFFF_FFFF
