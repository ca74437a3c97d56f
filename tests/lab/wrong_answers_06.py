"""Lab 06: wrong answers, each with the reason that turns it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

from llmwidgets.lab.exercises.block_allocator import BlockPool
from llmwidgets.lab.exercises.block_hashes import PrefixCache
from tests.lab.exercise_cases import WrongAnswers


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


class AlwaysEight(PrefixCache):
    def hit_tokens(self, token_ids: Any) -> int:
        return 8


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
    "Nothing of it was added": AlwaysEight,
    "you find 0 tokens": found(usable=lambda ids: 0),
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
WRONG: WrongAnswers = {"06.e1": WRONG_POOL, "06.e2": WRONG_HASHES, "06.e3": WRONG_COPY, "06.e4": WRONG_SIZE}
