"""Folds a packed run with the front end's own code, in the page that `to_html` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page

from llmwidgets.records.serving import Serving
from tests.browser.kv_cache_page import MODULE

FOLD = (
    "async steps => {"
    + MODULE
    + """
  const wire = unpack(page.widgets[0].state._drawn);
  const pool = module.poolOf(wire, null);
  const name = sequence => wire.sequences[sequence].id;
  return steps.map(step => {
    const { state, owners, use, changes } = pool.moment(step);
    const blocks = [];
    for (let block = 0; block < wire.num_blocks; block++) {
      if (!state.inUse(block) && !state.cached(block)) continue;
      const hash = number => (number < 0 ? null : pool.hash(number));
      const [hashed, parent] = [hash(state.hashes[block]), hash(state.parents[block])];
      const holders = owners.of(block).map(name);
      blocks.push([block, state.refCounts[block], hashed, parent, [...pool.tokens(state, block)], holders]);
    }
    return {
      blocks,
      running: state.running.map(name),
      waiting: state.waiting.map(name),
      tables: Object.fromEntries(state.running.map(s => [name(s), [...state.tables.get(s)]])),
      computed: Object.fromEntries(state.running.map(s => [name(s), state.computed.get(s)])),
      preempted: [...changes.of('Preempt')].map(name),
      use: Object.fromEntries(use.map(part => [part.name, part.slots])),
    };
  });
}"""
)


def folded(page: Page, steps: Sequence[int]) -> list[dict[str, Any]]:
    """Return the front end's states after these steps, in this order, from one fold."""
    states: list[dict[str, Any]] = page.evaluate(FOLD, list(steps))
    return states


def expected(serving: Serving, step: int) -> dict[str, Any]:
    """Return the same from `serving.steps`."""
    now = serving.steps[step]
    tables = {name: list(table) for name, table in now.block_tables.items()}
    use = serving.metrics.slot_use(step)
    slots = {name: getattr(use, name) for name in ("used", "reserved", "internal", "external")}
    cached = sum(block.ref_count == 0 for block in now.blocks) * serving.config.block_size
    return {
        "blocks": [
            [
                block.block_id,
                block.ref_count,
                block.block_hash,
                block.parent_hash,
                list(block.token_ids),
                [name for name, table in tables.items() if block.block_id in table],
            ]
            for block in now.blocks
        ],
        "running": list(now.running),
        "waiting": list(now.waiting),
        "tables": tables,
        "computed": now.computed_after,
        "preempted": list(now.preempted),
        "use": slots | ({"cached": cached} if cached else {}) | {"free": use.free - cached},
    }
