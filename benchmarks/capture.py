"""Capture of one head while tokens are generated: bytes held, and CPU time against the same run without."""

from __future__ import annotations

import time

import llmwidgets as lw

PROMPT = [1 + i * 7 % 4000 for i in range(256)]
NEW = 256


def measure(rounds: int = 7) -> tuple[int, list[float]]:
    """Return the bytes of the record, and for each round how much more CPU time a run with capture took."""
    engine = lw.load()

    def plain() -> float:
        begin = time.process_time()
        engine.generate(PROMPT, max_tokens=NEW)
        return time.process_time() - begin

    def captured() -> tuple[float, int]:
        begin = time.process_time()
        record = engine.attend(PROMPT, max_tokens=NEW, layers=3, heads=0)
        return time.process_time() - begin, record.nbytes

    plain()
    captured()
    ratios, held = [], 0
    for turn in range(rounds):  # alternate who goes first
        if turn % 2:
            ours, held = captured()
            theirs = plain()
        else:
            theirs = plain()
            ours, held = captured()
        ratios.append(ours / theirs - 1)
    return held, ratios
