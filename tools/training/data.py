"""Tokens and windows: every window of training begins with `<|endoftext|>`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from tools.training.corpus import Document
from tools.training.errors import TrainingError

BEGIN = 0  # <|endoftext|>


@dataclass(frozen=True)
class Batch:
    """Windows and the tokens that follow each of their positions."""

    input_ids: torch.Tensor  # (batch, context), the first column <|endoftext|>
    labels: torch.Tensor  # (batch, context)


def encode_documents(tokenizer: Tokenizer, documents: Iterable[Document]) -> list[np.ndarray]:
    """Each document's ids without the begin token."""
    encodings = tokenizer.encode_batch([d.text for d in documents], add_special_tokens=False)
    return [np.asarray(e.ids, dtype=np.uint16) for e in encodings]


def token_stream(tokenizer: Tokenizer, documents: list[Document], cache: Path | None = None) -> np.ndarray:
    """All documents as one row of ids, each begun by `<|endoftext|>`; kept in `cache` once made."""
    if cache is not None and cache.exists():
        return np.load(cache)
    pieces = []
    for first in range(
        0, len(documents), 32
    ):  # a few at a time: an encoding takes far more room than its ids
        for ids in encode_documents(tokenizer, documents[first : first + 32]):
            pieces.append(np.concatenate([np.array([BEGIN], dtype=np.uint16), ids]))
    stream = np.concatenate(pieces)
    if cache is not None:
        np.save(cache, stream)
    return stream


class WindowSource:
    """One stream cut into windows: each epoch at a new offset and in a new order, by the seed alone."""

    def __init__(self, stream: np.ndarray, context: int, seed: int, device: torch.device) -> None:
        """Hold the stream on the device; a stream must hold at least two windows."""
        self.windows = len(stream) // context - 1
        if self.windows < 1:
            raise TrainingError(f"{len(stream)} tokens are too few for windows of {context}")
        self.stream = torch.from_numpy(stream.astype(np.int32)).to(device)
        self.context = context
        self.seed = seed
        self._epoch = -1
        self._starts = np.empty(0, dtype=np.int64)

    def starts(self, first: int, count: int) -> np.ndarray:
        """Where windows number `first` to `first + count` of the whole run begin in the stream."""
        numbers = np.arange(first, first + count)
        return np.array([self._order(n // self.windows)[n % self.windows] for n in numbers], dtype=np.int64)

    def _order(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            shift = rng.integers(self.context)
            self._starts = rng.permutation(self.windows) * self.context + shift
            self._epoch = epoch
        return self._starts

    def take(self, first: int, count: int) -> torch.Tensor:
        """Windows of ids, (count, context)."""
        starts = torch.from_numpy(self.starts(first, count)).to(self.stream.device, non_blocking=True)
        offsets = torch.arange(self.context, device=self.stream.device)
        return self.stream[starts[:, None] + offsets].long()


class Batches:
    """Batch number n of the run: windows of prose and of Python in a fixed proportion."""

    def __init__(
        self, prose: WindowSource, python: WindowSource, batch_size: int, python_share: float
    ) -> None:
        """Fix how many windows of each a batch holds."""
        self.prose = prose
        self.python = python
        self.python_count = round(batch_size * python_share)
        self.prose_count = batch_size - self.python_count

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step."""
        parts = []
        if self.prose_count:
            parts.append(self.prose.take(step * self.prose_count, self.prose_count))
        if self.python_count:
            parts.append(self.python.take(step * self.python_count, self.python_count))
        labels = torch.cat(parts)
        begin = torch.full_like(labels[:, :1], BEGIN)
        return Batch(input_ids=torch.cat([begin, labels[:, :-1]], dim=1), labels=labels)
