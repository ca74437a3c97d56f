"""`Decoding`: how one sequence goes from logits to tokens, from tokens to text, and to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from llmwidgets.engine.sampling import Choice, Sampler
from llmwidgets.engine.text import Detokenizer, StopStrings
from llmwidgets.records.events import FinishReason
from llmwidgets.records.sampling_params import SamplingParams

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine


@dataclass(frozen=True)
class Decoded:
    """What one step made of a sequence."""

    choice: Choice
    text: str
    """Text that became final."""


class Decoding:
    """One sequence's output: its tokens so far, its random numbers, its text, and why it ended."""

    def __init__(
        self,
        engine: Engine,
        prompt_token_ids: Sequence[int],
        params: SamplingParams,
        output_prefix: Sequence[int] = (),
        with_text: bool = True,
    ) -> None:
        """Begin with no output; without text, all pieces of it are empty, and stop strings are not seen.

        Raises:
            ValueError: if `output_prefix` is longer than `max_tokens` or holds what is no token.
        """
        self.params = params
        self.prompt_token_ids = prompt_token_ids
        self.output_prefix = _checked_prefix(output_prefix, params.max_tokens, engine.vocab_size)
        self.token_ids: list[int] = []  # new ones
        self.finish_reason: FinishReason | None = None
        self._eos_token_ids = frozenset() if params.ignore_eos else engine.eos_token_ids
        self._sampler = Sampler(params)
        self._detokenizer = Detokenizer(engine.tokenizer if with_text else None)
        self._stop = StopStrings(params.stop)

    @property
    def stop_reason(self) -> str | None:
        """The stop string that ended the text, if one did."""
        return self._stop.found

    @property
    def takes_greatest(self) -> bool:
        """Whether the next token is the one of the greatest logit, whatever came before."""
        return self.params.is_plain_greedy and len(self.token_ids) >= len(self.output_prefix)

    def take(self, logits: Tensor) -> Decoded:
        """Choose the next token from logits of shape (V,), and say what became of the sequence."""
        done = len(self.token_ids)
        forced = self.output_prefix[done] if done < len(self.output_prefix) else None
        choice = self._sampler(logits, self.prompt_token_ids, self.token_ids, forced)
        return Decoded(choice, self.append(choice.token_id))

    def append(self, token_id: int) -> str:
        """Take one more token, decide whether it is the last, and return the text that became final."""
        self.token_ids.append(token_id)
        text = self._stop.push(self._detokenizer.push(token_id))
        if self._stop.found is not None:
            self.finish_reason = "stop"
            return text
        if token_id in self._eos_token_ids:
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
