"""`attend`: run a prompt, keep queries and keys, and say how far an edit reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from llmwidgets.engine.batch import Chunk, LayerFacts
from llmwidgets.engine.capture import Capture, to_numpy
from llmwidgets.engine.generate import BLOCK_SIZE, Run
from llmwidgets.engine.kv_cache import KVCache, num_blocks_for
from llmwidgets.engine.prompt import Prompt, encode, one_token, some_of
from llmwidgets.engine.text import display_texts
from llmwidgets.records.attention import Attention, AttentionEdit
from llmwidgets.records.sampling_params import SamplingParams

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

_LOGITS = 2**24  # numbers of one piece of logits: 64 MB in float32


class Pass:
    """A forward pass over tokens that are given, in pieces, so that logits never take much memory."""

    def __init__(self, engine: Engine, token_ids: list[int], capture: Capture | None = None) -> None:
        """Make room for the keys and values of `token_ids`; nothing is computed yet."""
        self.engine, self.token_ids, self.capture = engine, token_ids, capture
        self.cache = KVCache(num_blocks_for(len(token_ids), BLOCK_SIZE), BLOCK_SIZE)
        self.slots = slice(0, len(token_ids))

    def logits(self) -> Iterator[Tensor]:
        """Yield the logits of all positions, piece by piece, each of shape (t, vocabulary)."""
        size = max(64, _LOGITS // self.engine.vocab_size)
        for start in range(0, len(self.token_ids), size):
            piece = self.token_ids[start : start + size]
            yield self._run(piece, start, num_logits=len(piece))

    def run(self) -> None:
        """Compute all positions and no logits."""
        self._run(self.token_ids, 0, num_logits=0)

    def _run(self, token_ids: list[int], start: int, num_logits: int) -> Tensor:
        chunk = Chunk(token_ids, start, slice(0, start + len(token_ids)), num_logits)
        forward = self.engine.forward
        return forward.run(forward.prepare([chunk], self.cache, self.capture))


def attend(
    engine: Engine,
    prompt: Prompt,
    max_tokens: int,
    edit: tuple[int, str | int] | None,
    layers: int | Sequence[int] | None,
    heads: int | Sequence[int] | None,
) -> Attention:
    """See `Engine.attend`."""
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 0:
        raise ValueError(f"max_tokens={max_tokens!r} is not allowed; allowed is an integer of at least 0")
    prompt_token_ids = encode(engine, prompt, max_tokens)
    captured = some_of("layers", layers, len(engine.layers))
    facts = engine.layers[captured[0]]
    if {(layer.num_heads, layer.num_kv_heads) for layer in engine.layers} != {
        (facts.num_heads, facts.num_kv_heads)
    }:
        raise ValueError(f"the layers of {engine.name} differ in their heads; attend needs the same in all")
    capture = Capture(captured, some_of("heads", heads, facts.num_heads), last_only=max_tokens > 0)
    changed = None if edit is None else _edited(engine, prompt_token_ids, edit)
    if max_tokens:
        run = Run(engine, prompt_token_ids, SamplingParams(max_tokens=max_tokens), capture=capture)
        while not run.finished:
            run.advance()
        token_ids = prompt_token_ids + run.decoding.token_ids[:-1]
        cache, first_query = run.cache, len(prompt_token_ids) - 1
        made = None if changed is None else _edit(engine, Pass(engine, token_ids), changed, first_query)
    else:
        original = Pass(engine, prompt_token_ids, capture)
        token_ids, cache, first_query = prompt_token_ids, original.cache, 0
        if changed is None:
            original.run()
            made = None
        else:
            made = _edit(engine, original, changed, first_query)
    assert cache is not None  # noqa: S101  # a run has a cache unless told otherwise
    return _record(engine, token_ids, first_query, capture, cache, made)


def _edited(engine: Engine, prompt_token_ids: list[int], edit: tuple[int, str | int]) -> tuple[int, int]:
    """Return position and token id of an edit.

    Raises:
        ValueError: if it is not a position of the prompt and a token.
    """
    try:
        position, token = edit
    except (TypeError, ValueError):
        raise ValueError(f"edit={edit!r} is not allowed; allowed is (position, token)") from None
    (position,) = some_of("edit position", [position], len(prompt_token_ids))
    return position, one_token(engine, token)


def _edit(engine: Engine, original: Pass, changed: tuple[int, int], first_query: int) -> AttentionEdit:
    """Run the original and the edited tokens in the same pieces, and compare their logits.

    That nothing moves before the edit is measured here, not assumed.
    """
    position, token_id = changed
    token_ids = list(original.token_ids)
    token_ids[position] = token_id
    pairs = zip(original.logits(), Pass(engine, token_ids).logits(), strict=True)
    changes = [to_numpy((before.float() - after.float()).abs().amax(dim=-1)) for before, after in pairs]
    (token,) = display_texts(engine.tokenizer, [token_id])
    return AttentionEdit(position, token_id, token, np.concatenate(changes)[first_query:])


def _record(
    engine: Engine,
    token_ids: list[int],
    first_query: int,
    capture: Capture,
    cache: KVCache,
    edit: AttentionEdit | None,
) -> Attention:
    facts = [engine.layers[layer] for layer in capture.layers]
    num_heads, num_kv_heads = facts[0].num_heads, facts[0].num_kv_heads
    kv_heads = sorted({head * num_kv_heads // num_heads for head in capture.heads})
    slots = slice(0, len(token_ids))
    heads = list(capture.heads)
    return Attention(
        tokens=display_texts(engine.tokenizer, token_ids),
        token_ids=np.array(token_ids, np.int64),
        query_positions=np.arange(first_query, len(token_ids), dtype=np.int64),
        num_layers=len(engine.layers),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        layers=capture.layers,
        heads=capture.heads,
        queries=tuple(capture.queries(layer) for layer in capture.layers),
        keys=tuple(capture.keys(layer, cache, slots, kv_heads) for layer in capture.layers),
        scalings=tuple(_scaling(layer) for layer in facts),
        sliding_windows=tuple(layer.sliding_window for layer in engine.layers),
        softcaps=tuple(layer.softcap for layer in facts),
        sinks=tuple(None if layer.sinks is None else to_numpy(layer.sinks[heads]) for layer in facts),
        edit=edit,
        model=engine.name,
    )


def _scaling(layer: LayerFacts) -> float:
    assert layer.scaling is not None  # noqa: S101  # known wherever queries can be captured
    return layer.scaling
