"""Round to nearest: a grid of 2^b levels for each group of weights, and the code of the nearest one.

    s = max|W| / ((2^b - 1) / 2)        q = clip(round(W / s), -2^(b-1), 2^(b-1) - 1)        W' = s q

With a zero point z the grid lies where the weights are: s = (max W - min W) / (2^b - 1), W' = s (q - z).
Scales and codes are those of compressed-tensors: all 2^b levels are used, and no error is over half a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The levels of each group."""

    scales: Tensor  # (N, G)
    zero_points: Tensor | None  # (N, G) int8; None where code 0 stands for 0

    def column(self, group: int) -> Grid:
        """Return the grid of one group of each row, shape (N, 1)."""
        zeros = self.zero_points
        return Grid(self.scales[:, group : group + 1], None if zeros is None else zeros[:, group : group + 1])


@dataclass(frozen=True)
class AffineCodes:
    """Codes of a matrix on its grid."""

    codes: Tensor  # (N, K) int8
    grid: Grid

    def dequantize(self) -> Tensor:
        """Return the weights that the codes stand for, shape (N, K)."""
        return dequantize(self.codes, self.grid)


def find_grid(W: Tensor, bits: int, symmetric: bool = True, clip: float | Tensor = 1.0) -> Grid:
    """Return the grid that covers each group of weights.

    Args:
        W: groups of weights, shape (N, G, g).
        bits: of a code, 2 to 8.
        symmetric: whether code 0 stands for 0; else each group has a zero point.
        clip: share of the group's range that is covered, above 0, at most 1; also one a group, shape (N, G).
    """
    steps = 2**bits - 1
    low = -(2 ** (bits - 1))
    tiny = torch.finfo(W.dtype).eps  # for groups of zeros, whose codes are then 0
    if symmetric:
        s = W.abs().amax(dim=-1) * clip / (steps / 2)
        return Grid(torch.where(s == 0, tiny, s), None)
    least, most = W.amin(dim=-1).clamp(max=0) * clip, W.amax(dim=-1).clamp(min=0) * clip
    s = (most - least) / steps
    s = torch.where(s == 0, tiny, s)
    z = (low - least / s).round().clamp(low, low + steps)
    return Grid(s, z.to(torch.int8))


def quantize(W: Tensor, grid: Grid, bits: int) -> Tensor:
    """Return the codes of the nearest levels, int8.

    Args:
        W: weights, shape (N, K); columns lie in as many groups of equal size as the grid has.
        grid: shape (N, G).
        bits: of a code.
    """
    low = -(2 ** (bits - 1))
    N, G = grid.scales.shape
    places = W.reshape(N, G, -1) / grid.scales[..., None]
    if grid.zero_points is not None:
        places += grid.zero_points[..., None]
    return places.round_().clamp_(low, -low - 1).to(torch.int8).reshape(W.shape)


def dequantize(codes: Tensor, grid: Grid) -> Tensor:
    """Return s (q - z), shape (N, K), in the scales' dtype."""
    N, G = grid.scales.shape
    q = codes.reshape(N, G, -1).to(grid.scales.dtype)
    if grid.zero_points is not None:
        q -= grid.zero_points[..., None].to(q.dtype)
    return q.mul_(grid.scales[..., None]).reshape(codes.shape)


def rtn(
    W: Tensor, bits: int, group_size: int, symmetric: bool = True, clip: float | Tensor = 1.0
) -> AffineCodes:
    """Round each weight to the nearest level of its group.

    Args:
        W: weights, shape (N, K).
        bits: of a code, 2 to 8.
        group_size: neighbouring weights of a row that share a scale; it divides K.
        symmetric: whether code 0 stands for 0.
        clip: as in `find_grid`.
    """
    grid = find_grid(W.reshape(len(W), -1, group_size), bits, symmetric, clip)
    return AffineCodes(quantize(W, grid, bits), grid)
