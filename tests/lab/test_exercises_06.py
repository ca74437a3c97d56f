"""Lab 06: right answers pass, and each wrong one is turned down for its own reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
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


class FreedAtOnce(BlockPool):
    def free(self, block: int) -> None:
        self.references[block] -= 1
        self.free_blocks.append(block)


class Leaking(BlockPool):
    def free(self, block: int) -> None:
        self.references[block] -= 1


class ShareTakes(BlockPool):
    def share(self, block: int) -> None:
        super().share(block)
        self.free_blocks = self.free_blocks[1:]


class ShareForgets(BlockPool):
    def share(self, block: int) -> None:
        pass


class SameAgain(BlockPool):
    def allocate(self) -> Any:
        if 0 not in self.references:
            raise ValueError
        self.references[self.free_blocks[0]] = 1
        return self.free_blocks[0]

    def num_free(self) -> int:
        return self.references.count(0)


class FromOne(BlockPool):
    def allocate(self) -> Any:
        return super().allocate() + 1


class NoneLeft(BlockPool):
    def allocate(self) -> Any:
        return super().allocate() if self.free_blocks else None


class PopsEmpty(BlockPool):
    def allocate(self) -> Any:
        block = self.free_blocks.pop()
        self.references[block] = 1
        return block


class TakesNothing(BlockPool):
    def allocate(self) -> Any:
        return self.free_blocks[0]


class CountsUsed(BlockPool):
    def num_free(self) -> int:
        return len(self.references) - len(self.free_blocks)


class Raises(BlockPool):
    def share(self, block: int) -> None:
        raise KeyError(block)


WRONG_POOL = {
    "Another table still holds it": FreedAtOnce,
    "Its last reference is gone": Leaking,
    "Another reference takes no free block": ShareTakes,
    "keep it.": ShareForgets,
    "which a table still holds": SameAgain,
    "Blocks are the numbers 0 to 0": FromOne,
    "allocate() returns None": NoneLeft,
    "allocate() raises IndexError": PopsEmpty,
    "It takes one free block": TakesNothing,
    "All blocks are free at first": CountsUsed,
    "raised KeyError": Raises,
}


def found(
    chain: Callable[[Any, Any], Any] = lambda parent, block: hash((parent, tuple(block))),
    usable: Callable[[Sequence[int]], int] = lambda ids: (len(ids) - 1) // 4,
    full: Callable[[Sequence[int]], int] = lambda ids: len(ids) // 4,
    stop: bool = True,
    tokens: int = 4,
) -> type:
    class Answer(PrefixCache):
        def hashes(self, token_ids: Any, count: int) -> Any:
            made, parent = [], None
            for index in range(count):
                parent = chain(parent, token_ids[4 * index : 4 * index + 4])
                made.append(parent)
            return made

        def add(self, token_ids: Any) -> None:
            self.known.update(self.hashes(token_ids, full(token_ids)))

        def hit_tokens(self, token_ids: Any) -> int:
            hits = 0
            for block_hash in self.hashes(token_ids, usable(token_ids)):
                if block_hash in self.known:
                    hits += 1
                elif stop:
                    break
            return tokens * hits

    return Answer


class ByToken(PrefixCache):
    """Counts single tokens that agree, not blocks."""

    def __init__(self, block_size: int) -> None:
        super().__init__(block_size)
        self.added: list[list[int]] = []

    def add(self, token_ids: Any) -> None:
        self.added.append(token_ids)

    def hit_tokens(self, token_ids: Any) -> int:
        def same(other: list[int]) -> int:
            pairs = enumerate(zip(token_ids, other, strict=False))
            return next((i for i, (a, b) in pairs if a != b), min(len(token_ids), len(other)))

        return min(max(map(same, self.added), default=0), len(token_ids) - 1) if len(token_ids) > 8 else 0


class Remembers(PrefixCache):
    """Adds what it is asked about."""

    def hit_tokens(self, token_ids: Any) -> int:
        hits = super().hit_tokens(token_ids)
        if len(set(token_ids)) <= 2:
            self.add([*token_ids[::-1]])
        return hits


def always(count: int) -> type:
    return (
        found(usable=lambda ids: 0)
        if count == 0
        else type("Always", (PrefixCache,), {"hit_tokens": lambda self, ids: count})
    )


WRONG_HASHES = {
    "hash them with the hash of the block before": found(chain=lambda parent, block: hash(tuple(block))),
    "The last token must be computed": found(usable=lambda ids: len(ids) // 4),
    "cannot be used": found(chain=lambda parent, block: hash(tuple(block)), stop=False),
    "Only whole blocks hit": ByToken,
    "Order counts": found(chain=lambda parent, block: hash((parent, tuple(sorted(block))))),
    "only full ones are remembered": found(
        full=lambda ids: -(-len(ids) // 4), usable=lambda ids: -(-len(ids) // 4)
    ),
    "Both full blocks of the prefix are known": found(tokens=1),
    "Nothing of it was added": always(8),
    "you find 0 tokens": always(0),
    "Does hit_tokens change anything": Remembers,
    "raised TypeError": found(chain=lambda parent, block: hash((parent, block))),
}


def appended(
    shared: Callable[[int], bool] = lambda references: references > 1,
    copy: bool = True,
    give_back: bool = True,
    put: bool = True,
    place: Callable[[int, int], int] = lambda length, size: length % size,
    new: bool = True,
    before: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    def answer(pool: Any, table: Any, length: int, token: Any) -> None:
        index = length // pool.block_size
        if before is not None:
            before(pool, table, index)
        if index == len(table):
            if not new:
                return pool.write(pool.allocate(), place(length, pool.block_size), token)
            table.append(pool.allocate())
        block = table[index]
        if shared(pool.references[block]):
            block = pool.allocate()
            if copy:
                pool.copy(table[index], block)
            if give_back:
                pool.free(table[index])
            if put:
                table[index] = block
        return pool.write(block, place(length, pool.block_size), token)

    return answer


def copies_all(pool: Any, table: Any, index: int) -> None:
    for at, block in enumerate(table):
        if pool.references[block] > 1:
            table[at] = pool.allocate()
            pool.copy(block, table[at])
            pool.free(block)


def too_early(pool: Any, table: Any, index: int) -> None:
    if index + 1 == len(table):
        table.append(pool.allocate())


WRONG_COPY = {
    "A shared block was written to": appended(shared=lambda references: False),
    "The last one that holds a block alone": appended(shared=lambda references: references > 0),
    "gives the old one back": appended(give_back=False),
    "copy what the old one holds": appended(copy=False),
    "Does the table hold the block": appended(put=False),
    "append one": appended(new=False),
    "is it place p % block_size of it": appended(place=lambda length, size: 0),
    "Only the block that is written to is copied": appended(before=copies_all),
    "Take a new block only where": appended(before=too_early),
    "raised IndexError": appended(place=lambda length, size: length),
}


def chosen(cost: Callable[[int, int, float], float]) -> Callable[..., int]:
    """Return an answer that adds up another cost of one sequence in blocks of b."""

    def answer(lengths: Any, overhead: float) -> int:
        return min(range(1, max(lengths) + 1), key=lambda b: sum(cost(n, b, overhead) for n in lengths))

    return answer


def cost(n: int, b: int, overhead: float) -> float:
    return -(-n // b) * (b + overhead) - n


WRONG_SIZE = {
    "the least waste": chosen(lambda n, b, overhead: -(-n // b) * b - n),
    "makes the fewest blocks": lambda lengths, overhead: max(lengths),
    "which is not 1": chosen(lambda n, b, overhead: cost(n, b, 1)),
    "best power of two": lambda lengths, overhead: min(
        (2**k for k in range(9)), key=lambda b: sum(cost(n, b, overhead) for n in lengths)
    ),
    "round n / b up": chosen(lambda n, b, overhead: (n // b + 1) * (b + overhead) - n),
    "count to be exact": lambda lengths, overhead: round(sqrt(2 * overhead * sum(lengths) / len(lengths))),
    "for a single length, such as 60": lambda lengths, overhead: 17,
    "Return one whole number": lambda lengths, overhead: 16.5,
    "raised ZeroDivisionError": lambda lengths, overhead: 1 // 0,
}
WRONG = {"06.e1": WRONG_POOL, "06.e2": WRONG_HASHES, "06.e3": WRONG_COPY, "06.e4": WRONG_SIZE}


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
