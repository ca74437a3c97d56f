"""The same ragged prompts decoded greedily by Transformers, one by one, and by the engine, together.

The engine's run has all that serving does to a sequence: prompts in chunks, chunks of several sequences in
one batch, blocks that lie scattered, a prefix whose blocks two sequences share, and a preemption.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor

from llmwidgets.engine import Engine
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.kv_cache import BlockTable, KVCache

LONG = [(3 + 7 * i) % 256 for i in range(21)]  # longer than the windows, which are 8
SHORT = [(5 + 11 * i) % 256 for i in range(5)]
SHARING = LONG[:16] + [(9 + 13 * i) % 256 for i in range(4)]
PROMPTS = {"long": LONG, "short": SHORT, "sharing": SHARING}
NEW_TOKENS = 24
TOLERANCE = 5e-5

BLOCK_SIZE, NUM_BLOCKS = 8, 20
TABLES = {"long": [9, 3, 14, 5, 1, 12], "short": [7, 0, 11, 4], "sharing": [9, 3, 2, 13, 6, 10]}
NUM_SHARED = 16  # two blocks, which the long prompt has written when the sharing one begins
# How many tokens each sequence computes in the first passes; then all decode, one token a pass.
FIRST_PASSES = (
    {"long": 13, "short": 2},
    {"long": 3, "short": 3},
    {"long": 5, "short": 1, "sharing": 4},
)
PREEMPTED, PREEMPTED_AT, NEW_TABLE = "short", 12, [17, 15, 19, 16]  # all of its tokens are computed again


@dataclass
class Greedy:
    """What a prompt was continued with, and the logits that each new token is the greatest of."""

    token_ids: list[int]
    logits: Tensor  # (NEW_TOKENS, V)


def by_transformers(model: Any) -> dict[str, Greedy]:
    """Let `model.generate` continue each prompt alone."""
    found = {}
    for name, prompt in PROMPTS.items():
        output = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        found[name] = Greedy(output.sequences[0, len(prompt) :].tolist(), torch.cat(output.logits))
    return found


@dataclass
class _Sequence:
    token_ids: list[int]
    table: BlockTable
    num_computed: int = 0
    logits: list[Tensor] = field(default_factory=list)


def by_engine(engine: Engine) -> dict[str, Greedy]:
    """Continue all prompts together over one cache."""
    cache = KVCache(NUM_BLOCKS, BLOCK_SIZE)
    sequences = {
        name: _Sequence(list(prompt), BlockTable(BLOCK_SIZE, TABLES[name]))
        for name, prompt in PROMPTS.items()
    }
    sequences["sharing"].num_computed = NUM_SHARED
    for number, sizes in enumerate(chain(FIRST_PASSES, repeat(dict.fromkeys(PROMPTS, 1)))):
        running = {n: s for n, s in sequences.items() if n in sizes and len(s.logits) < NEW_TOKENS}
        if not running:
            break
        if number == PREEMPTED_AT:
            preempted = sequences[PREEMPTED]
            preempted.table, preempted.num_computed = BlockTable(BLOCK_SIZE, NEW_TABLE), 0
            sizes = sizes | {PREEMPTED: len(preempted.token_ids)}  # of this pass alone
        _one_pass(engine, cache, running, sizes)
    return {
        name: Greedy(s.token_ids[len(PROMPTS[name]) :], torch.stack(s.logits))
        for name, s in sequences.items()
    }


def _one_pass(engine: Engine, cache: KVCache, running: dict[str, _Sequence], sizes: dict[str, int]) -> None:
    """Compute the next tokens of each sequence, and append to those that have computed all they have."""
    chunks, complete = [], []
    for name, sequence in running.items():
        start, stop = sequence.num_computed, sequence.num_computed + sizes[name]
        slots = sequence.table.slots(stop, engine.forward.device)
        is_complete = stop == len(sequence.token_ids)
        chunks.append(Chunk(sequence.token_ids[start:stop], start, slots, int(is_complete)))
        sequence.num_computed = stop
        if is_complete:
            complete.append(sequence)
    logits = engine.forward.run(engine.forward.prepare(chunks, cache))
    for sequence, row in zip(complete, logits, strict=True):
        sequence.logits.append(row)
        sequence.token_ids.append(int(row.argmax()))


def first_difference(mine: dict[str, Greedy], theirs: dict[str, Greedy]) -> str | None:
    """Say where two runs differ first: in a token, or by how much in the logits; None if nowhere."""
    for name, expected in theirs.items():
        found = mine[name]
        for step, (a, b) in enumerate(zip(found.token_ids, expected.token_ids, strict=True)):
            if a != b:
                return f"{name}: token {step} is {a}, Transformers has {b}"
        difference = float((found.logits - expected.logits).abs().max())
        if not difference <= TOLERANCE:
            return f"{name}: logits differ by {difference:.2g}"
    return None
