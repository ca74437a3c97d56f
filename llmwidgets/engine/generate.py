"""`Run`: one request from its prompt to its last token, a step a token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.capture import Capture
from llmwidgets.engine.distribution import distribution
from llmwidgets.engine.kv_cache import BlockTable, KVCache, Slots, num_blocks_for
from llmwidgets.engine.sampling import Sampler
from llmwidgets.engine.text import Detokenizer, StopStrings, display_texts
from llmwidgets.records.generation import FinishReason, Generation, GenerationDelta, GenerationStep
from llmwidgets.records.sampling_params import SamplingParams

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

BLOCK_SIZE = 16


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
    ) -> None:
        """Make room for the longest sequence that may come; nothing is computed yet."""
        self.engine = engine
        self.prompt_token_ids = prompt_token_ids
        self.params = params
        self.token_ids: list[int] = []  # new ones
        self.steps: list[GenerationStep] = []
        self.finish_reason: FinishReason | None = None
        longest = len(prompt_token_ids) + params.max_tokens - 1  # the last token is never computed
        self.cache = KVCache(num_blocks_for(longest, BLOCK_SIZE), BLOCK_SIZE) if use_cache else None
        self.capture = capture
        self.output_prefix = _checked_prefix(output_prefix, params.max_tokens, engine.vocab_size)
        self._table = BlockTable(BLOCK_SIZE, [])
        self._num_computed = 0
        self._sampler = Sampler(params)
        self._detokenizer = Detokenizer(engine.tokenizer)
        self._stop = StopStrings(params.stop)

    def step(self) -> GenerationStep:
        """Compute what is not computed yet, and choose the next token."""
        wall, cpu = time.perf_counter(), time.process_time()
        sequence = self.prompt_token_ids + self.token_ids
        chunk = Chunk(sequence[self._num_computed :], self._num_computed, self._slots(len(sequence)))
        forward = self.engine.forward
        logits = forward.run(forward.prepare([chunk], self.cache, self.capture))[-1]
        if self.cache is not None:
            self._num_computed = len(sequence)
        done = len(self.token_ids)
        forced = self.output_prefix[done] if done < len(self.output_prefix) else None
        choice = self._sampler(logits, self.prompt_token_ids, self.token_ids, forced)
        self.token_ids.append(choice.token_id)
        text = self._text(choice.token_id)
        step = GenerationStep(
            token_id=choice.token_id,
            text=text,
            logprob=choice.logprob,
            uniform=choice.uniform,
            num_scheduled_tokens=len(chunk.token_ids),
            kv_tokens=self._num_computed,
            kv_blocks=len(self._table.blocks),
            kv_bytes=self._num_computed * (self.cache.bytes_per_token if self.cache is not None else 0),
            cpu_seconds=time.process_time() - cpu,
            wall_seconds=time.perf_counter() - wall,
            distribution=distribution(choice, self.engine.tokenizer),
        )
        self.steps.append(step)
        return step

    def slots(self) -> Slots | None:
        """Return the slots of all positions computed so far; None without a cache."""
        return self._slots(self._num_computed)

    def generation(self) -> Generation:
        """Return the record of a finished run."""
        if self.finish_reason is None:
            raise ValueError("the run is not finished")
        return Generation(
            prompt_token_ids=tuple(self.prompt_token_ids),
            token_ids=tuple(self.token_ids),
            tokens=display_texts(self.engine.tokenizer, self.token_ids),
            text="".join(step.text for step in self.steps),
            finish_reason=self.finish_reason,
            stop_reason=self._stop.found,
            steps=tuple(self.steps),
            sampling_params=self.params,
            use_cache=self.cache is not None,
            model=self.engine.name,
            prompt_tokens=display_texts(self.engine.tokenizer, self.prompt_token_ids),
            kv_shape=self.engine.kv_shape,
            num_forced=min(len(self.output_prefix), len(self.token_ids)),
        )

    def _slots(self, num_tokens: int) -> Slots | None:
        """Return the slots of the first `num_tokens` positions, taking blocks as they are needed."""
        if self.cache is None:
            return None
        blocks = self._table.blocks
        blocks += range(len(blocks), num_blocks_for(num_tokens, BLOCK_SIZE))
        return self._table.slots(num_tokens, self.engine.forward.device)

    def _text(self, token_id: int) -> str:
        """Take one more token, decide whether it is the last, and return the text that became final."""
        text = self._stop.push(self._detokenizer.push(token_id))
        if self._stop.found is not None:
            self.finish_reason = "stop"
            return text
        if token_id in self.engine.eos_token_ids and not self.params.ignore_eos:
            self.finish_reason = "stop"
        elif len(self.token_ids) == self.params.max_tokens:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            text += self._stop.push(self._detokenizer.flush())  # held-back bytes may complete a stop string
            text += self._stop.flush()
        return text


def _checked_prefix(output_prefix: Sequence[int], max_tokens: int, vocab_size: int) -> list[int]:
    prefix = list(output_prefix)
    if len(prefix) > max_tokens:
        raise ValueError(
            f"output_prefix has {len(prefix)} tokens; allowed are at most max_tokens={max_tokens}"
        )
    for token_id in prefix:
        if isinstance(token_id, bool) or not isinstance(token_id, int) or not 0 <= token_id < vocab_size:
            raise ValueError(
                f"output_prefix holds {token_id!r}; allowed are token ids from 0 to {vocab_size - 1}"
            )
    return prefix


def finish(run: Run) -> Generation:
    """Step until the run is finished."""
    while run.finish_reason is None:
        run.step()
    return run.generation()


def stream(run: Run) -> Iterator[GenerationDelta]:
    """Yield what each step adds; the caller may stop at any time."""
    while run.finish_reason is None:
        step = run.step()
        done = run.finish_reason is not None
        yield GenerationDelta(
            step.text, (step.token_id,), run.finish_reason, run.generation() if done else None
        )
