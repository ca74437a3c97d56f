"""GPTQ (Frantar et al. 2023): columns are rounded one by one, and those behind make up for each error.

What counts is the layer's output: the squared error ||W X - W' X||^2 is tr((W - W') H (W - W')^T) / 2 with
H = 2 X X^T. Rounding column j costs least if the columns after it move by -e_j U[j, j:], where U is the upper
Cholesky factor of H^-1 (H^-1 = U^T U) and e_j = (w_j - w'_j) / U[j, j] (algorithm 1 of the paper).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmwidgets.engine.quantization.progress import Progress, report
from llmwidgets.engine.quantization.rtn import AffineCodes, Grid, dequantize, find_grid, quantize

DAMPING = 0.01  # of the mean of H's diagonal, added to it (section 3.3)
_LAZY = (
    128  # columns whose errors reach the columns behind them in one product (section 3.3, lazy batch updates)
)


@dataclass(frozen=True)
class Factor:
    """What GPTQ needs of a Hessian."""

    U: Tensor  # (K, K) upper triangular, H^-1 = U^T U
    damping: float
    """What was added to the diagonal, as a share of its mean."""
    is_singular: bool
    """Whether H had no inverse before."""


@dataclass(frozen=True)
class Gptq:
    """What became of a matrix."""

    coded: AffineCodes
    rounded: Tensor
    """Each column as it was when its turn came, shape (N, K)."""
    factor: Factor


def hessian(X: Tensor) -> Tensor:
    """Return H = 2 X X^T of a layer's inputs, shape (K, K).

    Args:
        X: one column a token, shape (K, T).
    """
    return 2 * X @ X.T


def inverse_factor(H: Tensor, damping: float = DAMPING) -> Factor:
    """Return the upper Cholesky factor of H^-1, computed in float64.

    A column without input gets 1 on the diagonal. The diagonal is damped so that there is an inverse, ten
    times more if that does not do.

    Args:
        H: shape (K, K).
        damping: share of the mean of the diagonal that is added to it.
    """
    H = H.double()
    diagonal = H.diagonal()
    lower, failed = torch.linalg.cholesky_ex(H)
    least = torch.finfo(torch.float32).eps * diagonal.max()  # H was summed in float32
    is_singular = bool(failed > 0) or bool((lower.diagonal() ** 2).min() <= least)
    H = H + torch.diag((diagonal == 0).double())
    mean = H.diagonal().mean()
    unit = torch.eye(len(H), dtype=H.dtype, device=H.device)
    while True:
        lower, failed = torch.linalg.cholesky_ex(H + damping * mean * unit)
        if not failed:
            break
        damping *= 10
    U = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    return Factor(U.float(), damping, is_singular)


class Grids:
    """The grid of each column: found when the turn of its group comes, or fixed from the start."""

    def __init__(self, group_size: int, bits: int, symmetric: bool, clip: float) -> None:
        """Know no grid yet; arguments as in `gptq`."""
        self.group_size, self.bits, self.symmetric, self.clip = group_size, bits, symmetric, clip
        self.found: dict[int, Grid] = {}

    def find(self, group: int, W: Tensor) -> None:
        """Find the grid of a group from its weights, shape (N, g)."""
        self.found[group] = find_grid(W[:, None], self.bits, self.symmetric, self.clip)

    def of(self, column: int, ahead: Tensor) -> Grid:
        """Return the grid of a column; `ahead` are its weights now and those of the columns behind."""
        group = column // self.group_size
        if group not in self.found:
            self.find(group, ahead[:, : self.group_size])
        return self.found[group]

    def whole(self) -> Grid:
        """Return the grids of all groups, in their order."""
        grids = [self.found[group] for group in sorted(self.found)]
        scales = torch.cat([grid.scales for grid in grids], dim=1)
        zeros = [grid.zero_points for grid in grids if grid.zero_points is not None]
        return Grid(scales, torch.cat(zeros, dim=1) if zeros else None)


def gptq_block(W: Tensor, U: Tensor, columns: list[int], grids: Grids) -> tuple[Tensor, Tensor]:
    """Round columns one after the other, and let those behind them make up for each error.

    Args:
        W: the columns, shape (N, B); changed in place to what was rounded.
        U: the factor's part of these columns, shape (B, B).
        columns: which columns of the matrix they are, which says whose grid is theirs.
        grids: found on the way where they are not known.

    Returns:
        The codes, shape (N, B), and the errors e that the columns behind the block still have to make up for,
        shape (N, B).
    """
    codes, E = torch.empty_like(W, dtype=torch.int8), torch.empty_like(W)
    for j, column in enumerate(columns):
        w = W[:, j : j + 1]
        grid = grids.of(column, W[:, j:])
        q = quantize(w, grid, grids.bits)
        e = (w - dequantize(q, grid)) / U[j, j]
        W[:, j + 1 :] -= e * U[j, j + 1 :]
        codes[:, j : j + 1], E[:, j : j + 1] = q, e
    return codes, E


def gptq(
    W: Tensor,
    H: Tensor,
    bits: int,
    group_size: int,
    symmetric: bool = True,
    act_order: bool = False,
    clip: float = 1.0,
    damping: float = DAMPING,
    progress: Progress | None = None,
) -> Gptq:
    """Quantize a matrix so that its output moves least.

    Args:
        W: weights, shape (N, K); stays as it is.
        H: the Hessian of its inputs, shape (K, K), in any scale.
        bits: of a code, 2 to 8.
        group_size: columns that share a scale; it divides K.
        symmetric: whether code 0 stands for 0.
        act_order: whether columns with large inputs (by the diagonal of H) go first. Then each group's grid
            is that of its weights as they were; else it is found when the group's turn comes.
        clip: as in `find_grid`.
        damping: as in `inverse_factor`.
        progress: told after each block of columns.

    Raises:
        Stopped: if `progress` returns False.
    """
    K = W.shape[1]
    grids = Grids(group_size, bits, symmetric, clip)
    if act_order or group_size == K:
        for group in range(K // group_size):
            grids.find(group, W[:, group * group_size : (group + 1) * group_size])
    order = torch.arange(K, device=W.device)
    if act_order:
        order = torch.argsort(H.diagonal(), descending=True, stable=True)
    factor = inverse_factor(H[order][:, order], damping)
    W, U = W[:, order], factor.U.to(W.dtype)
    codes = torch.empty_like(W, dtype=torch.int8)
    B = _LAZY if group_size == K else group_size * max(1, _LAZY // group_size)  # whole groups
    for i in range(0, K, B):
        block = slice(i, min(i + B, K))
        W1 = W[:, block].clone()
        codes[:, block], E = gptq_block(W1, U[block, block], order[block].tolist(), grids)
        W[:, block.stop :] -= E @ U[block, block.stop :]
        W[:, block] = W1
        report(progress, block.stop / K, f"column {block.stop} of {K}")
    back = torch.argsort(order)
    return Gptq(AffineCodes(codes[:, back], grids.whole()), W[:, back], factor)
