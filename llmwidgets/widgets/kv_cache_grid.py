"""`KVCacheGrid`: the blocks of a KV cache and who holds them, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets
from numpy.typing import NDArray

from llmwidgets.records.generation import Generation
from llmwidgets.records.serving import Serving
from llmwidgets.widgets.figure import RecordFigure, pack
from llmwidgets.widgets.kv_cache_grid_given import BlockTables, GivenPool, given_pool
from llmwidgets.widgets.kv_cache_grid_source import GenerationSource, ServingSource, Source

Drawable = Serving | Generation | GivenPool


class KVCacheGrid(RecordFigure):
    """Draws the physical blocks of a `Serving` beside each request's block table, or the growing cache of a
    `Generation`, layers × tokens; scrub or play through the steps."""

    stem = "kv_cache_grid"

    step = traitlets.Int(0).tag(sync=True)
    """The shown step, counted from 0; beyond the last one, the last is shown. Of a `Serving` that has ended,
    the busiest step is shown first; of one that goes on, the last, and it stays the last as steps come,
    until the run has ended."""

    selected_request = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    """Id of the request whose blocks are lit, or None; of one with `n` above 1, the id of a child is possible
    too."""

    selected_block = traitlets.Int(None, allow_none=True).tag(sync=True)
    """The block that is read out while nothing is under the cursor, or None."""

    token_texts = traitlets.Dict().tag(sync=True)
    """Text by token id, shown in place of the id in a block's tokens."""

    _drawn = traitlets.Dict().tag(sync=True, to_json=pack)

    def __init__(self, record: Drawable, **traits: Any) -> None:
        self._revision = self._run = 0
        self._record = record
        self._source = _source_of(record)
        start = {"step": self._source.default_step, "badge": self._source.badge}
        super().__init__(record, **(start | traits))

    @classmethod
    def from_arrays(
        cls,
        block_tables: BlockTables,
        num_blocks: int,
        ref_counts: Sequence[int] | Mapping[int, int] | NDArray[Any] | None = None,
        *,
        block_size: int | None = None,
        num_tokens: Mapping[str, int] | Sequence[int] | NDArray[Any] | None = None,
        null_block: bool = True,
        **traits: Any,
    ) -> KVCacheGrid:
        """Draw your own block tables; needs no engine and no torch.

        Args:
            block_tables: block ids by request id, or one row a request, called r0, r1, ...; -1 at the end of
                a row is padding.
            num_blocks: blocks of the pool, the null block included.
            ref_counts: references by block, at least as many as there are tables that hold it; by default
                as many.
            block_size: tokens that a block holds.
            num_tokens: tokens by request, from which follows how far its last block is filled; needs
                `block_size`.
            null_block: whether block 0 is a placeholder that holds nothing, as in vLLM.
            traits: `selected_request`, `selected_block` and the other public traits.

        Raises:
            ValueError: for blocks outside the pool or twice in one table, counts below the tables', lengths
                that do not match or do not fit.
        """
        pool = given_pool(block_tables, num_blocks, ref_counts, block_size, num_tokens, null_block)
        return cls(pool, **traits)

    @property
    def record(self) -> Drawable:
        """The record that is drawn; set it to draw another in the same place, or more of the same run."""
        return self._record

    @record.setter
    def record(self, record: Drawable) -> None:
        before = self._source
        source = _source_of(record, before)
        with self.hold_sync(), self.hold_trait_notifications():
            at_end, at_default = self.step >= before.num_steps - 1, self.step == before.default_step
            self._record, self._source = record, source
            self._revision += 1
            self._run += not source.goes_on
            if at_default:  # of a run that goes on, that is its end; of one that has ended, its busiest step
                self.step = self._clamped(source.default_step)
            elif source.goes_on and at_end:
                self.step = self._clamped(source.num_steps - 1)
            else:
                self.step = self._clamped(self.step)
            if self.badge == before.badge:
                self.badge = source.badge
            if self.selected_request not in source.request_ids:
                self.selected_request = None
            if self.selected_block is not None and self.selected_block >= source.num_blocks:
                self.selected_block = None
            self._drawn = {"revision": self._revision, "run": self._run, **source.wire()}

    @traitlets.validate("step")
    def _known_step(self, proposal: dict[str, Any]) -> int:
        step = int(proposal["value"])
        if step < 0:
            last = self._source.num_steps - 1
            raise ValueError(
                f"step={step} is not allowed; allowed is 0 to {last}, the last step of the record"
            )
        return self._clamped(step)  # a view may ask for a step of the record that was there a moment ago

    @traitlets.validate("selected_request")
    def _known_request(self, proposal: dict[str, Any]) -> str | None:
        name: str | None = proposal["value"]
        if name is not None and name not in self._source.request_ids:
            known = list(self._source.request_ids)
            allowed = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "") if known else "only None"
            raise ValueError(f"selected_request={name!r} is not in the record; allowed: {allowed}")
        return name

    @traitlets.validate("selected_block")
    def _known_block(self, proposal: dict[str, Any]) -> int | None:
        block: int | None = proposal["value"]
        if block is not None and not 0 <= block < self._source.num_blocks:
            count = self._source.num_blocks
            allowed = f"0 to {count - 1}" if count else "only None"
            raise ValueError(f"selected_block={block} is not in the pool; allowed: {allowed}")
        return block

    def _clamped(self, step: int) -> int:
        return max(0, min(step, self._source.num_steps - 1))

    def to_text(self) -> str:
        """Return the shown step in words: counts, block tables, queues."""
        return self._source.text(self.step)

    def __repr__(self) -> str:
        return f"KVCacheGrid(step={self.step}, steps={self._source.num_steps}, {self._source.size})"


def _source_of(record: Drawable, before: Source | None = None) -> Source:
    if isinstance(record, Serving):
        return ServingSource(record, before)
    if isinstance(record, Generation):
        return GenerationSource(record)
    if isinstance(record, GivenPool):
        return record
    raise ValueError(
        f"a {type(record).__name__} is not allowed; allowed is a Serving, a Generation, or arrays through "
        "KVCacheGrid.from_arrays"
    )
