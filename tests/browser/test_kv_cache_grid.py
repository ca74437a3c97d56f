"""`KVCacheGrid` of a pool, as an exported page in Chromium: painted, by pointer and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

import llmwidgets as lw
from tests.browser.kv_cache_page import (
    CELLS,
    PIXELS,
    POOL,
    TABLES,
    chat,
    colours,
    press,
    rag,
    sentence,
)  # fmt: skip

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_paints_with_sentence_legend_badge_and_help(open_page: Callable[..., Page], theme: str) -> None:
    serving = chat()
    page = open_page(lw.KVCacheGrid(serving).to_html(), color_scheme=theme)
    assert colours(page) > 12
    assert colours(page, f"{TABLES} >> canvas") > 12
    now = serving.steps[serving.busiest_step]
    shared = [block for block in now.blocks if block.ref_count > 1]
    saved = sum((block.ref_count - 1) * len(block.token_ids) for block in shared)
    in_use = sum(block.ref_count > 0 for block in now.blocks)
    assert sentence(page).startswith(
        f"{in_use} of 47 blocks in use ({len(shared)} shared, saving {saved} tokens)"
    )
    assert page.locator(".lw-sentence").get_attribute("aria-live") == "polite"
    assert "1 cell = 1 block = 8 token slots" in page.locator(".lw-legend").inner_text()
    assert page.locator(".lw-badge").inner_text() == "COUNTED"
    assert page.locator(".lw-player-label").inner_text() == f"step {now.step} of 0–{len(serving.log) - 1}"
    page.locator(".lw-help summary").click()
    assert "null block" in page.locator(".lw-help").inner_text()


def test_a_shared_block_says_who_shares_it_and_what_that_saves(open_page: Callable[..., Page]) -> None:
    serving = rag()
    step, block = next(
        (step, block)
        for step in serving.steps
        for block in step.blocks
        if block.ref_count == 2 and len(block.token_ids) == 16 and block.parent_hash
    )
    holders = [name for name, table in step.block_tables.items() if block.block_id in table]
    table = step.block_tables[holders[0]]
    before = table[table.index(block.block_id) - 1]
    widget = lw.KVCacheGrid(serving, step=step.step, selected_block=block.block_id)
    page = open_page(widget.to_html())
    assert sentence(page).startswith(
        f"Block {block.block_id}: 16 of 16 tokens, shared by {holders[0]} and {holders[1]}, "
        "saves 16 tokens (256.0 KiB)"
    )
    detail = page.locator(".lw-kv-detail").inner_text()
    assert f"hash {block.block_hash}, after block {before} ({block.parent_hash})" in detail
    assert [int(token) for token in page.locator(".lw-kv-tokens i").all_inner_texts()] == list(
        block.token_ids
    )


def test_blocks_that_are_free_cached_partial_and_null_say_so(open_page: Callable[..., Page]) -> None:
    serving = rag()
    step = next(step for step in serving.steps if any(b.ref_count == 0 for b in step.blocks) and step.running)
    cached = next(block for block in step.blocks if block.ref_count == 0)
    partial = next(b for b in step.blocks if b.ref_count == 1 and len(b.token_ids) < 16)
    (holder,) = [name for name, table in step.block_tables.items() if partial.block_id in table]
    free = 79
    assert free not in {block.block_id for block in step.blocks}
    said = {
        cached.block_id: f"Block {cached.block_id}: free, but cached: its 16 tokens can still be found",
        partial.block_id: f"Block {partial.block_id}: {len(partial.token_ids)} of 16 tokens, held by "
        f"{holder}",
        free: "Block 79: free.",
        0: "Block 0: the null block, a placeholder that is never given out and not counted.",
    }
    for block, words in said.items():
        page = open_page(lw.KVCacheGrid(serving, step=step.step, selected_block=block).to_html())
        assert sentence(page).startswith(words)


def test_what_happened_in_a_step_is_said(open_page: Callable[..., Page]) -> None:
    serving = chat()
    step = next(step for step in serving.steps if step.preempted)
    page = open_page(lw.KVCacheGrid(serving, step=step.step).to_html())
    assert re.search(rf"{step.preempted[0]}\b.* preempted", sentence(page))
    evicted = next(e for s in serving.log for e in s.events if type(e).__name__ == "Evict")
    step = next(s for s in serving.steps if evicted in s.events[: serving.log[s.step].num_scheduling_events])
    page = open_page(lw.KVCacheGrid(serving, step=step.step, selected_block=evicted.block_id).to_html())
    assert "what it held was evicted" in sentence(page)


def test_arrows_move_over_the_blocks_enter_selects_escape_clears(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.KVCacheGrid(chat()).to_html())
    rest = sentence(page)
    assert press(page, "ArrowRight").startswith("Block 1:")  # the first that is in use
    assert press(page, "ArrowRight").startswith("Block 2:")
    assert press(page, "ArrowLeft").startswith("Block 1:")
    below = press(page, "ArrowDown")
    assert int(re.findall(r"Block (\d+)", below)[0]) - 1 in (8, 10, 12, 16)
    assert press(page, "End").startswith("Block 47:")
    assert press(page, "ArrowRight").startswith("Block 47:")
    assert press(page, "Home").startswith("Block 0:")
    press(page, "ArrowRight")
    press(page, "Enter")
    page.mouse.move(5, 5)
    assert sentence(page).startswith("Block 1:")  # selected, so it stays
    assert press(page, "Escape") == rest


def test_the_tables_by_keyboard_light_a_request(open_page: Callable[..., Page]) -> None:
    serving = chat()
    now = serving.steps[serving.busiest_step]
    second = now.running[1]
    page = open_page(lw.KVCacheGrid(serving).to_html())
    cells = page.locator(CELLS)
    before = cells.evaluate(PIXELS)
    assert press(page, "ArrowDown", TABLES).startswith(f"{now.running[0]}: ")
    assert press(page, "ArrowDown", TABLES).startswith(
        f"{second}: {now.computed_after[second]} tokens in {len(now.block_tables[second])} blocks"
    )
    assert press(page, "ArrowRight", TABLES).startswith(f"Block {now.block_tables[second][0]}:")
    assert press(page, "ArrowRight", TABLES).startswith(f"Block {now.block_tables[second][1]}:")
    press(page, "ArrowLeft", TABLES)
    press(page, "ArrowLeft", TABLES)
    assert cells.evaluate(PIXELS) == before
    press(page, "Enter", TABLES)
    assert cells.evaluate(PIXELS) != before  # the others are dimmed
    page.locator(TABLES).blur()
    page.mouse.move(5, 5)
    assert sentence(page).startswith(f"{second}: ")
    press(page, "Escape", TABLES)
    assert cells.evaluate(PIXELS) == before


def test_a_request_that_waits_or_has_ended_says_so(open_page: Callable[..., Page]) -> None:
    serving = chat()
    step = next(step for step in serving.steps if step.waiting)
    page = open_page(lw.KVCacheGrid(serving, step=step.step, selected_request=step.waiting[0]).to_html())
    assert sentence(page) == f"{step.waiting[0]} waits and holds no block."
    last = len(serving.log) - 1
    gone = next(r.request_id for r in serving.requests if r.request_id not in serving.steps[last].running)
    page = open_page(lw.KVCacheGrid(serving, step=last, selected_request=gone).to_html())
    assert sentence(page) == f"{gone} is not there at this step: it has not arrived yet, or has ended."


def test_the_pointer_reads_and_selects_in_pool_and_tables(open_page: Callable[..., Page]) -> None:
    serving = chat()
    now = serving.steps[serving.busiest_step]
    page = open_page(lw.KVCacheGrid(serving).to_html())
    box = page.locator(POOL).bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    assert sentence(page).startswith("Block 1:")
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(5, 5)
    assert sentence(page).startswith("Block 1:")
    page.mouse.click(box["x"] + 60, box["y"] + 20)  # once more: no longer selected
    page.mouse.move(5, 5)
    assert sentence(page).startswith("47 of 47 blocks")
    box = page.locator(TABLES).bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 36)
    assert sentence(page).startswith(f"{now.running[1]}: ")
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 36)
    assert re.match(r"Block (\d+):", sentence(page))[1] in map(str, now.block_tables[now.running[1]])


def test_given_tables_are_drawn_without_a_player(open_page: Callable[..., Page]) -> None:
    tables = {"a": [0, 1, 2], "b": [1, 5]}
    widget = lw.KVCacheGrid.from_arrays(
        tables, 8, {1: 3, 2: 1, 5: 1, 7: 1}, block_size=4, num_tokens={"a": 10, "b": 6}
    )
    page = open_page(widget.to_html())
    assert not page.locator(".lw-player").is_visible()
    assert page.locator(".lw-badge").inner_text() == "GIVEN"
    assert sentence(page) == "4 of 7 blocks in use (1 shared, saving 8 tokens), 3 free."
    press(page, "ArrowRight")
    assert (
        sentence(page)
        == "Block 1: 4 of 4 tokens, shared by a, b and 1 holder without a table, saves 8 tokens."
    )
    press(page, "End")
    assert sentence(page) == "Block 7: held by 1 holder without a table."
