"""`workload`: seeded mixes of requests as servers see them, in text or in token ids."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal, get_args

from llmwidgets.records.request import Request, require_integer

Kind = Literal["chat", "rag", "batch", "code"]

# Lewis Carroll, Alice's Adventures in Wonderland (1865), chapter I.
_TEXT = """
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do:
once or twice she had peeped into the book her sister was reading, but it had no pictures or conversations
in it, "and what is the use of a book," thought Alice "without pictures or conversations?" So she was
considering in her own mind (as well as she could, for the hot day made her feel very sleepy and stupid),
whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the
daisies, when suddenly a White Rabbit with pink eyes ran close by her. There was nothing so very remarkable
in that; nor did Alice think it so very much out of the way to hear the Rabbit say to itself, "Oh dear! Oh
dear! I shall be late!" (when she thought it over afterwards, it occurred to her that she ought to have
wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually took a watch
out of its waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet, for it
flashed across her mind that she had never before seen a rabbit with either a waistcoat-pocket, or a watch
to take out of it, and burning with curiosity, she ran across the field after it, and fortunately was just
in time to see it pop down a large rabbit-hole under the hedge.
"""


@dataclass(frozen=True)
class _Mix:
    """Lengths in words or tokens: medians of log-normal laws, but for what is shared."""

    shared: int
    """Length of the system prompt that all begin with."""
    documents: int
    """How many documents there are, of which each request holds one after the system prompt."""
    document: int
    prompt: int
    output: int
    spread: float
    """Standard deviation of the logarithm of the lengths."""
    rate: float
    """Requests per step; 0 lets all arrive at once."""


def workload(
    kind: Kind,
    num_requests: int = 32,
    *,
    seed: int = 0,
    rate: float | None = None,
    scale: float = 1.0,
    vocab_size: int | None = None,
) -> list[Request]:
    """Return a mix of requests; the same arguments give the same requests.

    Args:
        kind: `"chat"`: a short shared system prompt, long answers; `"rag"`: a question about one of
            four long documents; `"batch"`: all at once, long prompts, short answers, nothing shared;
            `"code"`: a long shared file, short completions.
        num_requests: how many, at least 1.
        seed: of all random numbers, at least 0.
        rate: mean arrivals per engine step (a Poisson process); 0 lets all arrive at once, None takes the
            kind's own.
        scale: multiplies all lengths, above 0.
        vocab_size: None for prompts in text, whose lengths are then in words; else prompts of token ids
            below it, for `simulate`.

    Raises:
        ValueError: for a value outside what its argument allows.
    """
    mixes = {
        "chat": _Mix(shared=24, documents=0, document=0, prompt=24, output=48, spread=0.6, rate=0.5),
        "rag": _Mix(shared=16, documents=4, document=96, prompt=12, output=24, spread=0.4, rate=0.5),
        "batch": _Mix(shared=0, documents=0, document=0, prompt=96, output=12, spread=0.5, rate=0.0),
        "code": _Mix(shared=96, documents=0, document=0, prompt=32, output=16, spread=0.7, rate=1.0),
    }
    if kind not in mixes:
        raise ValueError(f"kind={kind!r} is not allowed; allowed is one of {', '.join(get_args(Kind))}")
    require_integer("num_requests", num_requests, 1)
    require_integer("seed", seed, 0)
    if vocab_size is not None:
        require_integer("vocab_size", vocab_size, 2)
    for name, value, allowed in (("scale", scale, scale > 0), ("rate", rate, rate is None or rate >= 0)):
        if not allowed or (value is not None and not math.isfinite(value)):
            raise ValueError(f"{name}={value!r} is not allowed; allowed is a finite number, scale above 0")
    mix = mixes[kind]
    rate = mix.rate if rate is None else rate
    draw = random.Random(f"{kind} {seed}")
    words = _TEXT.split()

    def length(median: int) -> int:
        if median == 0:
            return 0
        return max(
            1, round(scale * median * math.exp(min(1.5, max(-1.5, draw.gauss(0.0, 1.0))) * mix.spread))
        )

    def stretch(count: int) -> tuple[str, ...] | tuple[int, ...]:
        if vocab_size is not None:
            return tuple(draw.randrange(vocab_size) for _ in range(count))
        start = draw.randrange(len(words))
        return tuple(words[(start + index) % len(words)] for index in range(count))

    shared = stretch(round(scale * mix.shared))
    documents = [stretch(round(scale * mix.document)) for _ in range(mix.documents)] or [()]
    requests, now = [], 0.0
    for index in range(num_requests):
        if rate > 0 and index > 0:
            now += draw.expovariate(rate)
        pieces = (*shared, *draw.choice(documents), *stretch(length(mix.prompt)))
        prompt = " ".join(map(str, pieces)) if vocab_size is None else tuple(map(int, pieces))
        requests.append(Request(prompt, length(mix.output), f"r{index}", arrival=int(now)))
    return requests
