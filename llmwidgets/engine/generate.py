"""`Run`: one request from its prompt to its last token, a step a token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.capture import Capture
from llmwidgets.engine.decoding import Decoded, Decoding
from llmwidgets.engine.distribution import distribution
from llmwidgets.engine.kv_cache import BlockTable, Slots, num_blocks_for
from llmwidgets.engine.quantization.kv_quant import cache_for
from llmwidgets.engine.text import display_texts
from llmwidgets.records.generation import Generation, GenerationDelta, GenerationStep
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.records.sampling_params import SamplingParams

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

BLOCK_SIZE = 16


@dataclass(frozen=True)
class Advance:
    """One forward pass of a run: what it made, and what it took."""

    decoded: Decoded
    num_scheduled_tokens: int
    cpu_seconds: float
    wall_seconds: float


class Run:
    """A request that is being generated; it owns its blocks, and they go when it goes."""

    def __init__(
        self,
        engine: Engine,
        prompt_token_ids: list[int],
        params: SamplingParams,
        use_cache: bool = True,
        capture: Capture | None = None,
        output_prefix: Sequence[int] = (),
        kv_shape: KVShape | None = None,
    ) -> None:
        """Make room for the longest sequence that may come; nothing is computed yet.

        Raises:
            ValueError: for keys and values in codes without a cache to hold them.
        """
        self.engine = engine
        self.kv_shape = engine.kv_shape if kv_shape is None else kv_shape
        """How keys and values are held."""
        if not use_cache and self.kv_shape.kv_cache_dtype != "auto":
            raise ValueError(
                f"kv_cache_dtype={self.kv_shape.kv_cache_dtype!r} is not allowed with use_cache=False, which "
                "keeps no keys and values"
            )
        self.decoding = Decoding(engine, prompt_token_ids, params, output_prefix)
        self.steps: list[GenerationStep] = []
        longest = len(prompt_token_ids) + params.max_tokens - 1  # the last token is never computed
        num_blocks = num_blocks_for(longest, BLOCK_SIZE)
        self.cache = cache_for(self.kv_shape, num_blocks, BLOCK_SIZE) if use_cache else None
        self.capture = capture
        self._table = BlockTable(BLOCK_SIZE, [])
        self._num_computed = 0

    @property
    def finished(self) -> bool:
        """Whether there is no next token."""
        return self.decoding.finish_reason is not None

    def advance(self) -> Advance:
        """Compute what is not computed yet, and choose the next token."""
        wall, cpu = time.perf_counter(), time.process_time()
        sequence = [*self.decoding.prompt_token_ids, *self.decoding.token_ids]
        chunk = Chunk(sequence[self._num_computed :], self._num_computed, self._slots(len(sequence)))
        forward = self.engine.forward
        logits = forward.run(forward.prepare([chunk], self.cache, self.capture))[-1]
        if self.cache is not None:
            self._num_computed = len(sequence)
        decoded = self.decoding.take(logits)
        return Advance(decoded, len(chunk.token_ids), time.process_time() - cpu, time.perf_counter() - wall)

    def step(self) -> GenerationStep:
        """Advance, and keep what the token was drawn from."""
        made = self.advance()
        choice = made.decoded.choice
        step = GenerationStep(
            token_id=choice.token_id,
            text=made.decoded.text,
            logprob=choice.logprob,
            uniform=choice.uniform,
            num_scheduled_tokens=made.num_scheduled_tokens,
            kv_tokens=self._num_computed,
            kv_blocks=len(self._table.blocks),
            kv_bytes=self._num_computed * (self.cache.bytes_per_token if self.cache is not None else 0),
            cpu_seconds=made.cpu_seconds,
            wall_seconds=made.wall_seconds,
            distribution=distribution(choice, self.engine.tokenizer),
        )
        self.steps.append(step)
        return step

    def slots(self) -> Slots | None:
        """Return the slots of all positions computed so far; None without a cache."""
        return self._slots(self._num_computed)

    def generation(self) -> Generation:
        """Return the record of a finished run."""
        decoding = self.decoding
        if decoding.finish_reason is None:
            raise ValueError("the run is not finished")
        return Generation(
            prompt_token_ids=tuple(decoding.prompt_token_ids),
            token_ids=tuple(decoding.token_ids),
            tokens=display_texts(self.engine.tokenizer, decoding.token_ids),
            text="".join(step.text for step in self.steps),
            finish_reason=decoding.finish_reason,
            stop_reason=decoding.stop_reason,
            steps=tuple(self.steps),
            sampling_params=decoding.params,
            use_cache=self.cache is not None,
            model=self.engine.name,
            prompt_tokens=display_texts(self.engine.tokenizer, decoding.prompt_token_ids),
            kv_shape=self.kv_shape,
            num_forced=min(len(decoding.output_prefix), len(decoding.token_ids)),
        )

    def _slots(self, num_tokens: int) -> Slots | None:
        """Return the slots of the first `num_tokens` positions, taking blocks as they are needed."""
        if self.cache is None:
            return None
        blocks = self._table.blocks
        blocks += range(len(blocks), num_blocks_for(num_tokens, BLOCK_SIZE))
        return self._table.slots(num_tokens, self.engine.forward.device)


def finish(run: Run) -> Generation:
    """Step until the run is finished."""
    while not run.finished:
        run.step()
    return run.generation()


def stream(run: Run) -> Iterator[GenerationDelta]:
    """Yield what each step adds; the caller may stop at any time."""
    while not run.finished:
        step = run.step()
        yield GenerationDelta(
            step.text,
            (step.token_id,),
            run.decoding.finish_reason,
            run.generation() if run.finished else None,
        )
