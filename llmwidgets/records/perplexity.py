"""`Perplexity`: how well a model predicts a text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmwidgets.records.kv_shape import KVCacheDtype, KVCacheScale
from llmwidgets.records.record import Record


@dataclass(frozen=True, repr=False)
class Perplexity(Record):
    """The mean loss of a text's tokens, each predicted from those before it in its window."""

    model: str
    loss: float
    """Mean negative log-likelihood of a token, in nats."""
    num_tokens: int
    """Predicted tokens."""
    num_windows: int
    """Pieces of the text, each of which began anew."""
    window: int
    """Tokens of a piece, the begin token included; the last piece may have fewer."""
    kv_cache_dtype: KVCacheDtype = "auto"
    kv_cache_scale: KVCacheScale = "head"

    @property
    def value(self) -> float:
        """exp(loss): among how many equally likely tokens the model would be as unsure."""
        return math.exp(self.loss)

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        """Return one line with the value and what it was measured on."""
        cache = "" if self.kv_cache_dtype == "auto" else f", {self.kv_cache_dtype} cache"
        return (
            f"Perplexity({self.value:.4f}, {self.model!r}{cache}, {self.num_tokens:,} tokens in "
            f"{self.num_windows} windows of {self.window})"
        )
