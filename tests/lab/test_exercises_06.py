"""Lab 06: right answers pass, and each wrong one is turned down for its own reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.lab import check
from llmwidgets.lab.exercises import block_hashes, block_size_choice, shared_blocks
from llmwidgets.lab.exercises.block_allocator import BlockPool
from llmwidgets.lab.exercises.block_hashes import PrefixCache
from llmwidgets.lab.exercises.catalogue import find
from llmwidgets.lab.exercises.copy_on_write import append_token
from tests.lab.exercise_cases import assert_turned_down, named
from tests.lab.wrong_answers_06 import WRONG


@pytest.mark.parametrize("which", WRONG)
def test_the_solution_that_is_shown_passes(which: str) -> None:
    names: dict[str, Any] = {"np": np}
    exec(find(which).solution, names)
    verdict = check(which, names[find(which).reference.__name__])
    assert verdict.ok, verdict


@pytest.mark.parametrize(("which", "reason"), named(WRONG))
def test_a_wrong_answer_is_turned_down_for_its_own_reason(which: str, reason: str) -> None:
    assert_turned_down(which, WRONG[which][reason], reason)


def unfinished(*arguments: Any) -> Any:
    raise NotImplementedError


class BlankPool(BlockPool):
    """The class as the lab hands it out."""

    def __init__(self, num_blocks: int) -> None: ...

    def allocate(self) -> None: ...

    def num_free(self) -> None: ...


class BlankCache(PrefixCache):
    """The class as the lab hands it out."""

    def add(self, token_ids: Any) -> None: ...

    def hit_tokens(self, token_ids: Any) -> None: ...


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("blank", [None, ..., lambda *arguments: None, lambda *arguments: ..., unfinished])
def test_a_blank_is_not_attempted_yet(which: str, blank: Any) -> None:
    assert repr(check(which, blank)) == "○ not attempted yet"


@pytest.mark.parametrize(("which", "given"), [("06.e1", BlankPool), ("06.e2", BlankCache)])
def test_a_class_that_does_nothing_is_not_attempted_yet(which: str, given: Any) -> None:
    assert not check(which, given).attempted


def test_a_pool_that_gives_out_the_last_freed_block_first_is_right_too() -> None:
    class Stack(BlockPool):
        def free(self, block: int) -> None:
            super().free(block)
            self.free_blocks = sorted(self.free_blocks, reverse=True)

    assert check("06.e1", Stack).ok


@pytest.mark.parametrize("suffix", range(9))
def test_the_engine_hits_exactly_the_full_blocks_of_a_shared_prefix(suffix: int) -> None:
    prefix = list(range(100, 110))
    prompts = [[*prefix, 1, 2, 3], [*prefix, *range(200, 200 + suffix)], [99, *prefix[1:], *range(suffix)]]
    usable = min(len(prefix), len(prefix) + suffix - 1)
    assert block_hashes.engine_hits(prompts) == [0, usable // 4 * 4, 0]


@pytest.mark.parametrize(("num_prompt", "copies"), [(21, 3), (16, 0), (3, 3)])
def test_all_but_one_copy_a_partly_filled_block(num_prompt: int, copies: int) -> None:
    assert shared_blocks.engine_cost(num_prompt, 12, 8).num_copies == copies


def test_waste_is_what_the_engine_counts_at_the_end() -> None:
    """The last new token is never computed, so a sequence of n + 1 fills n places."""
    lengths, block_size = (60, 33, 16, 7), 16
    requests = [lw.Request(tuple(range(length)), 1) for length in lengths]
    run = lw.simulate(
        requests, block_size=block_size, max_num_batched_tokens=256, enable_prefix_caching=False
    )
    assert len(run.steps) == 1
    assert run.metrics.slot_use(0).internal == block_size_choice.waste(lengths, block_size)
    assert 63 - run.steps[0].free_blocks == block_size_choice.num_blocks(lengths, block_size)


def test_the_reference_copies_only_what_is_shared() -> None:
    pool = shared_blocks.Blocks(8, 4)
    table: list[int] = []
    for position in range(6):
        append_token(pool, table, position, position)
    assert (table, pool.num_copies) == ([0, 1], 0)
