"""`PositionLoss`: how well each next token was predicted, by where it was predicted from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.record import Record


@dataclass(frozen=True, eq=False, repr=False)
class PositionLoss(Record):
    """The loss of one text, by position and by how positions past the trained length were turned."""

    scalings: tuple[str, ...]
    """The rows of `loss`: `"none"`, `"linear"`, ..."""
    edges: NDArray[np.int64]
    """Bucket i holds the predictions made at positions `edges[i]` to `edges[i + 1] - 1`; shape (B + 1,)."""
    num_tokens: NDArray[np.int64]
    """Predicted tokens in each bucket, shape (B,)."""
    loss: NDArray[np.float32]
    """Mean negative log-likelihood of a token, in nats, shape (scalings, B)."""
    num_windows: int
    """Pieces of the text that were run; each began anew at position 0."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not agree, and make the arrays read-only."""
        buckets = len(self.edges) - 1
        if self.edges.ndim != 1 or buckets < 1 or not (np.diff(self.edges) > 0).all():
            raise ValueError("edges must ascend and bound at least one bucket")
        if self.num_tokens.shape != (buckets,) or (self.num_tokens < 1).any():
            raise ValueError("num_tokens must have a positive entry for each bucket")
        if self.loss.shape != (len(self.scalings), buckets):
            raise ValueError("loss must have a row for each scaling and a column for each bucket")
        for array in (self.edges, self.num_tokens, self.loss):
            array.flags.writeable = False

    def perplexity(self, scaling: str = "none") -> NDArray[np.float64]:
        """Return exp(mean loss) of each bucket, shape (B,).

        Raises:
            ValueError: for a scaling that was not measured.
        """
        return np.asarray(np.exp(self.of(scaling)))

    def perplexity_between(self, start: int, stop: int, scaling: str = "none") -> float:
        """Return exp(mean loss) over all predictions made at positions `start` to `stop` - 1.

        Args:
            start: the first position, an edge of a bucket.
            stop: one past the last position, an edge of a bucket.
            scaling: one of `scalings`.

        Raises:
            ValueError: for a scaling that was not measured, or a position that is no edge.
        """
        inside = self._between(start, stop)
        return float(np.exp(np.average(self.of(scaling)[inside], weights=self.num_tokens[inside])))

    def of(self, scaling: str) -> NDArray[np.float64]:
        """Return the loss of one scaling in nats, shape (B,)."""
        if scaling not in self.scalings:
            raise ValueError(
                f"scaling={scaling!r} was not measured; measured are {', '.join(map(repr, self.scalings))}"
            )
        return np.asarray(self.loss[self.scalings.index(scaling)], np.float64)

    def _between(self, start: int, stop: int) -> slice:
        edges = self.edges.tolist()
        for name, edge in (("start", start), ("stop", stop)):
            if edge not in edges:
                raise ValueError(f"{name}={edge} is no edge of a bucket; edges are {edges}")
        if start >= stop:
            raise ValueError(f"start={start} is not below stop={stop}; between them must be a bucket")
        return slice(edges.index(start), edges.index(stop))
