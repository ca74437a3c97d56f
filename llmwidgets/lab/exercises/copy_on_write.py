"""Exercise 06.e3: four continuations over the same blocks, with a copy before a shared one is written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.shared_blocks import Blocks, Cost, N, engine_cost
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong
from llmwidgets.records.request import Request

TASK = """Four continuations of one prompt (`n=4`) begin with the same block table. Write
`append_token(pool, table, length, token)`: one of them, which has `length` tokens, gets one more.

Position `p` of a sequence is place `p % pool.block_size` of block `table[p // pool.block_size]`. The new
token goes to position `length`:

- If the table has no block for it yet, append a new one: `pool.allocate()` returns its number.
- If its block is shared (`pool.references[block] > 1`), the sequence first gets one of its own: allocate a
  block, `pool.copy(old, new)`, give the old one back with `pool.free(old)`, and put the new one in its place.
- Then `pool.write(block, place, token)`.

(A token stands here for its keys and values.) The check lets four sequences take turns, with made-up tokens
and then with what the bundled model says. Each must read back its own text, full blocks of the prompt stay
shared by all, and nobody copies more often than the engine's `BlockPool.write` does."""

HINTS = (
    "Which block does position `length` lie in? `index, place = divmod(length, pool.block_size)`.",
    "Three cases for `index`: it is `len(table)`; or its block has one reference; or it has more. Only the "
    "last one copies.",
    "`new = pool.allocate()`, `pool.copy(table[index], new)`, `pool.free(table[index])`, "
    "`table[index] = new`. In the end, in all cases, `pool.write(table[index], place, token)`.",
)


def append_token(pool, table, length, token):  # type: ignore[no-untyped-def]  # shown to learners
    """Write one more token; a shared block is copied first."""
    index, place = divmod(length, pool.block_size)
    if index == len(table):
        table.append(pool.allocate())
    elif pool.references[table[index]] > 1:
        new = pool.allocate()
        pool.copy(table[index], new)
        pool.free(table[index])
        table[index] = new
    pool.write(table[index], place, token)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Let four sequences grow from prompts that end inside a block and at its end, then from a real one."""
    for num_prompt in (21, 16, 3):
        made_up = [f"p{index}" for index in range(num_prompt)]
        verdict = _grow(answer, made_up, [[f"{name}{i}" for i in range(12)] for name in "abcd"], 8)
        if verdict is not None:
            return verdict
    prompt, outputs = _real()
    verdict = _grow(answer, prompt, outputs, 4)
    if verdict is not None:
        return verdict
    copies = engine_cost(len(prompt), len(outputs[0]), 4).num_copies
    return right(
        f"{N} texts of the bundled model, {len(prompt)} tokens of prompt in blocks of 4: {len(prompt) // 4} "
        f"full blocks shared by all, {copies} copies, and each reads back its own text"
    )


def _real() -> tuple[list[int], list[list[int]]]:
    from llmwidgets.engine import load  # slow to load, and needed only once an answer works on made-up tokens

    engine = load()
    request = Request(
        "Alice was beginning to get very tired of sitting by her sister", 8, n=N, temperature=0.9
    )
    run = engine.serve([request], ignore_eos=True)
    return [int(token) for token in run.requests[0].prompt], [list(ids) for ids in run.outputs.values()]


def _grow(
    answer: Callable[..., Any], prompt: list[Any], outputs: list[list[Any]], size: int
) -> Verdict | None:
    pool = Blocks(N * (-(-(len(prompt) + len(outputs[0])) // size) + 1), size)
    first: list[int] = []
    for position, token in enumerate(prompt):
        append_token(pool, first, position, token)
    tables = [list(first) for _ in range(N)]
    for block in first:
        pool.references[block] = N
    pool.num_writes = 0
    where = f"A prompt of {len(prompt)} tokens in blocks of {size}"
    for step in range(len(outputs[0])):
        for index, (table, output) in enumerate(zip(tables, outputs, strict=True)):
            answer(pool, table, len(prompt) + step, output[step])
            if pool.num_writes == 0:
                return not_attempted()
            for reader in range(N):
                own = [*prompt, *outputs[reader][: step + (reader <= index)]]
                if pool.read(tables[reader], len(own)) != own:
                    return _misread(pool.read(tables[reader], len(own)), own, where, index, reader)
    return _count(pool, tables, engine_cost(len(prompt), len(outputs[0]), size), where, len(prompt) // size)


def _misread(read: list[Any], own: list[Any], where: str, writer: int, reader: int) -> Verdict:
    said = f"{where}: after sequence {writer} has grown, sequence {reader} reads other tokens than its own."
    if writer != reader:
        return wrong(said, "A shared block was written to: copy it first if it has more than one reference.")
    if len(read) < len(own):
        return wrong(said, "Its table has no block for the new token: append one.")
    if None in read[:-1] and read[-1] is not None:
        return wrong(said, "Its new block has the new token only: copy what the old one holds.")
    return wrong(
        said, "Does the table hold the block that you wrote to, and is it place p % block_size of it?"
    )


def _count(pool: Blocks, tables: list[list[int]], cost: Cost, where: str, num_full: int) -> Verdict | None:
    for block, references in enumerate(pool.references):
        holders = sum(block in table for table in tables)
        if references != holders:
            return wrong(
                f"{where}: in the end {holders} tables hold block {block}; it has {references} references.",
                "Who copies a block gives the old one back with pool.free; the new one takes its place.",
            )
    shared = [block for block in tables[0] if pool.references[block] == N]
    if len(shared) != num_full:
        return wrong(
            f"{where}: {len(shared)} blocks are shared by all {N}; {num_full} of the prompt are full.",
            "Only the block that is written to is copied. All before it stay shared.",
        )
    if pool.num_copies > cost.num_copies:
        return wrong(
            f"{where}: {pool.num_copies} copies; {cost.num_copies} are enough.",
            "The last one that holds a block alone may write to it: copy only if references are above 1.",
        )
    in_use = sum(count > 0 for count in pool.references)
    if in_use != cost.blocks_in_use:
        return wrong(
            f"{where}: {in_use} blocks are in use at the end; {cost.blocks_in_use} are needed.",
            "Take a new block only where the table has none for the position.",
        )
    return None


EXERCISE = Exercise("06.e3", "Copy on write", 20, TASK, HINTS, append_token, judge)
