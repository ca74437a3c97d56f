"""`GivenPool`: a caller's own block tables as `KVCacheGrid` draws them."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.widgets.kv_cache_grid_source import SHOWN, listed

BlockTables = Mapping[str, Sequence[int]] | Sequence[Sequence[int]] | NDArray[Any]


@dataclass(frozen=True)
class GivenPool:
    """A pool at one moment: which block stands in whose table."""

    tables: dict[str, tuple[int, ...]]
    num_blocks: int
    ref_counts: tuple[int, ...]
    """By block, shape (num_blocks,)."""
    block_size: int | None = None
    num_tokens: dict[str, int] | None = None
    null_block: bool = True
    badge: str = field(default="GIVEN", init=False)
    num_steps: int = field(default=1, init=False)
    default_step: int = field(default=0, init=False)
    goes_on: bool = field(default=False, init=False)

    @property
    def size(self) -> str:
        """How large the pool is, for the `repr`."""
        return f"blocks={self._usable}"

    @property
    def request_ids(self) -> Collection[str]:
        """Ids of the tables."""
        return self.tables

    @property
    def filled(self) -> list[int]:
        """Tokens by block; -1 where they are not known, shape (num_blocks,)."""
        if self.num_tokens is None or self.block_size is None:
            return [-1 if count else 0 for count in self.ref_counts]
        filled = [-1 if count else 0 for count in self.ref_counts]
        for name, table in self.tables.items():
            for index, block in enumerate(table):
                held = min(self.block_size, max(0, self.num_tokens[name] - index * self.block_size))
                filled[block] = max(filled[block], held)
        return filled

    def wire(self) -> dict[str, Any]:
        """Return the tables, and what became of the slots, in blocks where the slots are not known."""
        lengths = [len(table) for table in self.tables.values()]
        blocks = [block for table in self.tables.values() for block in table]
        tokens = self.num_tokens
        return {
            "kind": "given",
            "num_blocks": self.num_blocks,
            "null_block": self.null_block,
            "block_size": self.block_size,
            "max_rows": len(self.tables),
            "bytes_per_token": None,
            "slot_use": self._slot_use(),
            "sequences": [
                {"id": name, "request": name, "place": place, "child": 0}
                for place, name in enumerate(self.tables)
            ],
            "table_blocks": np.array(blocks, np.int32),
            "table_offsets": np.cumsum([0, *lengths], dtype=np.int32),
            "table_tokens": None if tokens is None else [tokens[name] for name in self.tables],
            "ref_counts": np.array(self.ref_counts, np.int32),
            "filled": np.array(self.filled, np.int32),
        }

    def text(self, step: int) -> str:
        """Return counts and tables in words."""
        usable, in_use = self._usable, self._in_use
        shared = sum(count > 1 for count in self.ref_counts[self.num_blocks - usable :])
        lines = [f"{usable} blocks: {in_use} in use ({shared} shared), {usable - in_use} free"]
        lines += [f"  {name}: blocks {listed(table)}" for name, table in list(self.tables.items())[:SHOWN]]
        if len(self.tables) > SHOWN:
            lines.append(f"  and {len(self.tables) - SHOWN} more")
        return "\n".join(lines)

    @property
    def _usable(self) -> int:
        return self.num_blocks - self.null_block

    @property
    def _in_use(self) -> int:
        return sum(count > 0 for count in self.ref_counts[self.num_blocks - self._usable :])

    def _slot_use(self) -> dict[str, Any]:
        size, in_use = self.block_size or 1, self._in_use
        parts = {"used": in_use * size, "free": (self._usable - in_use) * size}
        if self.num_tokens is not None:
            used = sum(tokens for tokens in self.filled[self.num_blocks - self._usable :] if tokens > 0)
            parts = {"used": used, "internal": in_use * size - used, "free": parts["free"]}
        return {"parts": list(parts), "slots": np.array([list(parts.values())], np.int32)}


def given_pool(
    block_tables: BlockTables,
    num_blocks: int,
    ref_counts: Sequence[int] | Mapping[int, int] | NDArray[Any] | None = None,
    block_size: int | None = None,
    num_tokens: Mapping[str, int] | Sequence[int] | NDArray[Any] | None = None,
    null_block: bool = True,
) -> GivenPool:
    """Check a caller's arrays; see `KVCacheGrid.from_arrays`."""
    num_blocks = _integer("num_blocks", num_blocks, 1)
    tables = {
        name: _table(name, table, num_blocks, null_block) for name, table in _by_request(block_tables).items()
    }
    counted = Counter(block for table in tables.values() for block in table)
    if null_block:
        counted[0] = 0
    counts = _by_block(ref_counts, num_blocks) if ref_counts is not None else counted
    for block, holders in counted.items():
        if counts.get(block, 0) < holders:
            raise ValueError(
                f"ref_counts[{block}]={counts.get(block, 0)} is not allowed; "
                f"{holders} tables hold block {block}"
            )
    size = None if block_size is None else _integer("block_size", block_size, 1)
    tokens = None
    if num_tokens is not None:
        if size is None:
            raise ValueError("num_tokens needs block_size: how many tokens a block holds")
        tokens = _lengths(num_tokens, tables, size)
    return GivenPool(
        tables,
        num_blocks,
        tuple(counts.get(block, 0) for block in range(num_blocks)),
        size,
        tokens,
        null_block,
    )


def _by_request(block_tables: BlockTables) -> dict[str, Sequence[int]]:
    if isinstance(block_tables, Mapping):
        named = {str(name): table for name, table in block_tables.items()}
        if len(named) < len(block_tables):
            raise ValueError("block_tables has two requests with the same id; ids must differ")
        return named
    return {f"r{index}": table for index, table in enumerate(block_tables)}


def _table(name: str, table: Sequence[int], num_blocks: int, null_block: bool) -> tuple[int, ...]:
    blocks = [_integer(f"block_tables[{name!r}]", block, -1) for block in table]
    while blocks and blocks[-1] == -1:
        blocks.pop()
    seen: set[int] = set()
    for block in blocks:
        if not 0 <= block < num_blocks:
            raise ValueError(
                f"block_tables[{name!r}] holds block {block}; allowed are 0 to {num_blocks - 1}, "
                "and -1 as padding at the end"
            )
        if block in seen and not (null_block and block == 0):
            raise ValueError(f"block_tables[{name!r}] holds block {block} twice; allowed is once")
        seen.add(block)
    return tuple(blocks)


def _by_block(ref_counts: Any, num_blocks: int) -> dict[int, int]:
    if not isinstance(ref_counts, Mapping):
        if len(ref_counts) != num_blocks:
            raise ValueError(f"ref_counts has {len(ref_counts)} entries, but num_blocks is {num_blocks}")
        ref_counts = dict(enumerate(ref_counts))
    counts = {}
    for block, count in ref_counts.items():
        if not 0 <= block < num_blocks:
            raise ValueError(f"ref_counts holds block {block}; allowed are 0 to {num_blocks - 1}")
        counts[int(block)] = _integer(f"ref_counts[{block}]", count, 0)
    return counts


def _lengths(num_tokens: Any, tables: dict[str, tuple[int, ...]], size: int) -> dict[str, int]:
    if not isinstance(num_tokens, Mapping):
        num_tokens = dict(zip(tables, num_tokens, strict=False))
    lengths = {}
    for name, table in tables.items():
        if name not in num_tokens:
            raise ValueError(f"num_tokens has no entry for request {name!r}")
        lengths[name] = _integer(f"num_tokens[{name!r}]", num_tokens[name], 0)
        if lengths[name] > len(table) * size:
            raise ValueError(
                f"num_tokens[{name!r}]={lengths[name]} is not allowed; its {len(table)} blocks of {size} "
                f"hold at most {len(table) * size}"
            )
    return lengths


def _integer(name: str, value: Any, minimum: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if isinstance(value, bool) or number < minimum:
        raise ValueError(f"{name}={value!r} is not allowed; allowed is an integer of at least {minimum}")
    return number
