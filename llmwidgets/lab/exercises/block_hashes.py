"""Exercise 06.e2: blocks found again by a chain of hashes, held against the engine's own prefix cache."""

# mypy: disable-error-code="no-untyped-def"
# Its class is shown to learners, who write no types.

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong
from llmwidgets.records.request import Request
from llmwidgets.scheduling.simulate import simulate

BLOCK_SIZE = 4
NUM_PROMPTS = 200

TASK = """Write the class `PrefixCache`: which full blocks have been computed before, so that they need not be
again.

- `PrefixCache(block_size)` begins empty.
- `add(token_ids)` remembers every **full** block of a sequence.
- `hit_tokens(token_ids)` returns how many tokens at the beginning of a new prompt are there already: whole
  blocks only, from the first one on, up to the first that is missing.

Two rules. The keys of a block depend on **all** tokens before it, so it is the same block only if those are
the same too: its hash is that of its own tokens and of the hash of the block before. And the last token of a
prompt is always computed, for its output gives the next token: of `n` tokens at most
`(n - 1) // block_size` blocks hit.

The check asks about eight prompts that could mislead, then about 200 random ones, for which it counts the
hits that the engine's scheduler has."""

HINTS = (
    "Write a method that returns the hashes of the first `count` blocks of a sequence; `add` and "
    "`hit_tokens` both need it. A `set` can remember them.",
    "`parent = hash((parent, tuple(block)))`, with `parent = None` before the first block: each hash holds "
    "all that came before.",
    "`hit_tokens`: go through the hashes of the first `(len(token_ids) - 1) // block_size` blocks, stop at "
    "the first that is not in the set, and return how many were, times block_size.",
)


class PrefixCache:
    """Full blocks that have been computed, by a hash of all tokens up to their end."""

    def __init__(self, block_size):
        self.block_size = block_size
        self.known = set()

    def hashes(self, token_ids, count):
        """Return the hashes of the first `count` blocks."""
        chain, parent = [], None
        for index in range(count):
            block = token_ids[index * self.block_size : (index + 1) * self.block_size]
            parent = hash((parent, tuple(block)))
            chain.append(parent)
        return chain

    def add(self, token_ids):
        """Remember all full blocks."""
        self.known.update(self.hashes(token_ids, len(token_ids) // self.block_size))

    def hit_tokens(self, token_ids):
        """Return how many tokens at the beginning are in known blocks."""
        hits = 0
        for block_hash in self.hashes(token_ids, (len(token_ids) - 1) // self.block_size):
            if block_hash not in self.known:
                break
            hits += 1
        return hits * self.block_size


@dataclass(frozen=True)
class Case:
    """A prompt after the ones of `ADDED`, and what a wrong answer to it means."""

    name: str
    prompt: tuple[int, ...]
    hit_tokens: int
    next_step: str


FIRST, SECOND = (10, 11, 12, 13), (14, 15, 16, 17)
OTHER = (30, 31, 32, 33)
ADDED = ((*FIRST, *SECOND, 18, 19), (*OTHER, 34, 35, 36, 37, 38))
CASES = (
    Case(
        "another suffix",
        (*FIRST, *SECOND, 50, 51, 52, 53, 54),
        8,
        "Both full blocks of the prefix are known.",
    ),
    Case("no token in common", (90, 91, 92, 93, 94), 0, "Nothing of it was added."),
    Case(
        "a changed first token",
        (99, 11, 12, 13, *SECOND, 18),
        0,
        "Its first block is another one, and what comes behind a missing block cannot be used.",
    ),
    Case("a change inside its second block", (*FIRST, 14, 15, 99, 17, 18), 4, "Only whole blocks hit."),
    Case("tokens in another order", (11, 10, 12, 13, *SECOND, 18), 0, "Order counts: hash a tuple."),
    Case(
        "a known block behind another first one",
        (*OTHER, *SECOND, 18),
        4,
        "Its tokens are the same, what comes before is not: hash them with the hash of the block before.",
    ),
    Case(
        "the same tokens as before",
        (*FIRST, *SECOND, 18, 19),
        8,
        "Its last two tokens fill no block: only full ones are remembered, and only full ones hit.",
    ),
    Case(
        "exactly the two known blocks",
        (*FIRST, *SECOND),
        4,
        "The last token must be computed for its output: (n - 1) // block_size blocks at most.",
    ),
)


def judge(answer: Callable[..., Any]) -> Verdict:
    """Ask about prompts that could mislead, then about random ones."""
    cache = answer(BLOCK_SIZE)
    if cache is None or cache is ...:
        return not_attempted()
    for token_ids in ADDED:
        cache.add(list(token_ids))
    for case in CASES:
        given = cache.hit_tokens(list(case.prompt))
        if given is None or given is ...:
            return not_attempted()
        if given != case.hit_tokens:
            return wrong(
                f"A prompt with {case.name}: you find {given} tokens, there are {case.hit_tokens}.",
                case.next_step,
            )
    return _random(answer)


def engine_hits(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Return what the engine's scheduler finds of each prompt when all come one after the other."""
    requests = [Request(tuple(prompt), 1) for prompt in prompts]
    pool = 1 + sum(
        -(-len(prompt) // BLOCK_SIZE) + 1 for prompt in prompts
    )  # so large that nothing is evicted
    run = simulate(requests, block_size=BLOCK_SIZE, num_gpu_blocks=pool, max_num_seqs=1)
    return [one.hit_tokens for one in run.metrics.requests]


def _random(answer: Callable[..., Any]) -> Verdict:
    draw = random.Random(0)
    prompts = [[draw.randrange(2) for _ in range(draw.randint(1, 24))] for _ in range(NUM_PROMPTS)]
    cache, total = answer(BLOCK_SIZE), 0
    for prompt, expected in zip(prompts, engine_hits(prompts), strict=True):
        given = cache.hit_tokens(list(prompt))
        if given != expected:
            return wrong(
                f"Of the prompt {prompt} you find {given} tokens; the engine finds {expected}.",
                "Does hit_tokens change anything, or does add forget what was there?",
            )
        cache.add(list(prompt))
        total += expected
    return right(
        f"{len(CASES)} of {len(CASES)} prompts that could mislead, and {total} hit tokens of {NUM_PROMPTS} "
        "random prompts, as in the engine"
    )


EXERCISE = Exercise("06.e2", "Found by its hash", 20, TASK, HINTS, PrefixCache, judge)
