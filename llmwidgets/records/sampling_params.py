"""`SamplingParams`: how tokens are chosen and when a request stops, with vLLM's names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmwidgets.records.record import Record


@dataclass(frozen=True, repr=False)
class SamplingParams(Record):
    """Checked sampling arguments, the same for `generate`, `stream` and `serve`.

    Raises:
        ValueError: for a value outside what its field allows, with the name, the value and the limit.
    """

    max_tokens: int = 64
    """The most new tokens, at least 1."""
    temperature: float = 0.0
    """Logits are divided by it; 0 takes the most probable token."""
    top_k: int = 0
    """How many of the most probable tokens stay; 0 keeps all."""
    top_p: float = 1.0
    """The smallest set of tokens that reaches this probability stays; from above 0 to 1."""
    min_p: float = 0.0
    """Tokens below this share of the top probability go; from 0 to 1."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens seen in prompt or output; above 0."""
    presence_penalty: float = 0.0
    """Taken off the logit of each token already in the output; from -2 to 2."""
    frequency_penalty: float = 0.0
    """Taken off once for each time that a token is in the output; from -2 to 2."""
    seed: int = 0
    """Seed of the request's own random numbers, at least 0."""
    stop: tuple[str, ...] = ()
    """Strings that end the text, which leaves them out."""
    ignore_eos: bool = False
    """Whether generation goes on past the model's end token."""
    sampler_order: Literal["vllm", "transformers"] = "vllm"
    """`"vllm"` applies min-p before top-k and top-p, `"transformers"` after them."""

    def __post_init__(self) -> None:
        """Refuse what a field does not allow."""
        self._require(
            "max_tokens", _integer(self.max_tokens) and self.max_tokens >= 1, "an integer of at least 1"
        )
        self._require(
            "temperature", _number(self.temperature) and self.temperature >= 0, "a number of at least 0"
        )
        self._require(
            "top_k", _integer(self.top_k) and self.top_k >= 0, "an integer of at least 0 (0 keeps all)"
        )
        self._require("top_p", _number(self.top_p) and 0 < self.top_p <= 1, "a number above 0 and up to 1")
        self._require("min_p", _number(self.min_p) and 0 <= self.min_p <= 1, "a number from 0 to 1")
        self._require(
            "repetition_penalty",
            _number(self.repetition_penalty) and self.repetition_penalty > 0,
            "a number above 0",
        )
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            self._require(name, _number(value) and -2 <= value <= 2, "a number from -2 to 2")
        self._require("seed", _integer(self.seed) and self.seed >= 0, "an integer of at least 0")
        self._require(
            "stop",
            isinstance(self.stop, tuple) and all(isinstance(text, str) and text for text in self.stop),
            "a string or a list of strings, none of them empty",
        )
        self._require("ignore_eos", isinstance(self.ignore_eos, bool), "True or False")
        self._require(
            "sampler_order", self.sampler_order in ("vllm", "transformers"), "'vllm' or 'transformers'"
        )

    @property
    def is_plain_greedy(self) -> bool:
        """Whether the next token is always the one of the greatest logit."""
        penalties = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty)
        return self.temperature == 0 and penalties == (1, 0, 0)

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{name}={getattr(self, name)!r} is not allowed; allowed is {allowed}")


def stop_strings(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the argument `stop` as the tuple that `SamplingParams` holds."""
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    try:
        return tuple(stop)
    except TypeError:
        raise ValueError(f"stop={stop!r} is not allowed; allowed is a string or a list of strings") from None


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
