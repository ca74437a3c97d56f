"""`Rope`: how positions become angles (Su et al. 2021, section 3.2); `apply_rope`: turn queries or keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmwidgets.records.record import Record

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Rope(Record):
    """The frequencies that turn pairs of numbers, one way of stretching them past the trained length."""

    scaling: str
    """`"none"` for the model as it is, or `"linear"`, `"dynamic"`, `"yarn"`."""
    rope_parameters: dict[str, str | int | float]
    """What Transformers' config gets for it."""
    lengths: NDArray[np.int64]
    """Ascending, shape (N,): row i of `inv_freq` holds for sequences of up to `lengths[i]` tokens, the last
    row for longer ones too."""
    inv_freq: Floats
    """Radians a position, the fastest pair first, shape (N, F); one row unless they depend on the length."""
    attention_factor: float
    """What turned queries and keys are also multiplied by; 1 but for YaRN and its kin."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not agree, and make the arrays read-only."""
        shape = self.inv_freq.shape
        if len(shape) != 2 or 0 in shape or self.lengths.shape != shape[:1]:
            raise ValueError("inv_freq must have one row of frequencies for each of the lengths")
        if not np.isfinite(self.inv_freq).all() or not (np.diff(self.lengths) > 0).all():
            raise ValueError("inv_freq must be finite, and lengths must ascend")
        self.inv_freq.flags.writeable = self.lengths.flags.writeable = False

    @property
    def depends_on_length(self) -> bool:
        """Whether a longer sequence turns all of its positions otherwise, so that cached keys go stale."""
        return self.rope_parameters.get("rope_type") in ("dynamic", "longrope")

    def frequencies(self, length: ArrayLike) -> Floats:
        """Return the radians a position in a sequence of `length` tokens, shape (*length's shape, F)."""
        rows = np.minimum(np.searchsorted(self.lengths, length), len(self.inv_freq) - 1)
        return np.asarray(self.inv_freq[rows])

    def angles(self, positions: ArrayLike, length: ArrayLike | None = None) -> Floats:
        """Return the angle of each position for each frequency, in radians, in float32 as the models do.

        Args:
            positions: any shape.
            length: tokens of the sequence, one for all or one for each position; by default up to the last
                of the positions.

        Returns:
            Shape (*positions' shape, F), not wrapped at a full turn.
        """
        at = np.asarray(positions)
        angles: Floats = at.astype(np.float32)[..., None] * self.frequencies(
            at.max() + 1 if length is None else length
        )
        return angles

    def __repr__(self) -> str:
        """Return one line with the scaling, the range of wavelengths and the factor."""
        slowest, fastest = (2 * np.pi / np.abs(self.inv_freq[-1][i]) for i in (-1, 0))
        return (
            f"Rope({self.scaling!r}, {self.inv_freq.shape[1]} frequencies, "
            f"one turn in {fastest:.1f} to {slowest:.0f} positions)"
        )


def apply_rope(
    x: ArrayLike,
    angles: ArrayLike,
    attention_factor: float = 1.0,
    interleaved: bool = False,
    start: int = 0,
) -> Floats:
    """Turn each pair of numbers of `x` by its angle (Su et al. 2021, eq. 34); the others stay.

    Args:
        x: queries or keys, shape (..., D).
        angles: radians, shape (..., F) with 2 F ≤ D; pair f is turned by angle f.
        attention_factor: what turned numbers are multiplied by.
        interleaved: pair f is the numbers 2 f and 2 f + 1 (GPT-J, GLM, Cohere), else f and f + F (Llama).
        start: the first number that is turned; those before it and after start + 2 F stay.

    Returns:
        The turned numbers, float32, shape (..., D).
    """
    turned = np.array(x, np.float32)
    angles = np.asarray(angles, np.float32)
    num_frequencies = angles.shape[-1]
    stop = start + 2 * num_frequencies
    if interleaved:
        first, second = slice(start, stop, 2), slice(start + 1, stop, 2)
    else:
        first, second = slice(start, start + num_frequencies), slice(start + num_frequencies, stop)
    cos, sin = np.cos(angles) * np.float32(attention_factor), np.sin(angles) * np.float32(attention_factor)
    shape = np.broadcast_shapes(turned.shape[:-1], angles.shape[:-1])
    turned = np.array(np.broadcast_to(turned, (*shape, turned.shape[-1])))
    a, b = turned[..., first].copy(), turned[..., second].copy()
    turned[..., first] = a * cos - b * sin
    turned[..., second] = b * cos + a * sin
    return turned
