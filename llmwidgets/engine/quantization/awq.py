"""AWQ (Lin et al. 2024): columns with large inputs get larger weights before rounding, so they lose less.

W x = (W diag(s)) (x / s). With s = mean|x|^alpha the salient columns take more of each group's levels, and
x / s costs nothing, for it is folded into the operation before. alpha is searched on a grid of 20, then each
group's range is clipped where that helps (section 3.2; the grids are those of the authors' code).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llmwidgets.engine.quantization.progress import Progress, report
from llmwidgets.engine.quantization.rtn import AffineCodes, rtn

ALPHAS = tuple(i / 20 for i in range(20))
CLIPS = tuple(1 - i / 20 for i in range(10))


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded."""

    bits: int
    group_size: int
    symmetric: bool = True

    def __call__(self, W: Tensor, clip: float | Tensor = 1.0) -> AffineCodes:
        """Round each weight to the nearest level of its group."""
        return rtn(W, self.bits, self.group_size, self.symmetric, clip)


@dataclass(frozen=True)
class Scales:
    """What the search found for layers that read one tensor."""

    alpha: float
    s: Tensor
    """Shape (K,); all 1 for alpha = 0."""
    errors: tuple[float, ...]
    """Summed squared output error of the layers for each alpha that was tried."""


def output_error(D: Tensor, H: Tensor) -> Tensor:
    """Return ||D X||^2 from H = 2 X X^T, for errors of weights D of shape (N, K)."""
    return ((D @ H) * D).sum() / 2


def awq_scales(mean: Tensor, alpha: float) -> Tensor:
    """Return s = mean^alpha, evened out so that the largest and the smallest are each other's inverse.

    Args:
        mean: mean size of each input, shape (K,).
        alpha: from 0, which gives ones, to 1.
    """
    s = mean.pow(alpha).clamp(min=1e-4)
    return s / (s.max() * s.min()).sqrt()


def search_scales(
    Ws: list[Tensor],
    H: Tensor,
    mean: Tensor,
    rounding: Rounding,
    alphas: tuple[float, ...] = ALPHAS,
    progress: Progress | None = None,
) -> Scales:
    """Find the alpha with the least summed output error of layers that read the same tensor.

    Args:
        Ws: their weights, each of shape (N, K).
        H: 2 X X^T of the tensor, shape (K, K).
        mean: mean size of each of its numbers, shape (K,).
        rounding: how the scaled weights are rounded.
        alphas: what is tried; 0 among them makes the result no worse than rounding alone.
        progress: told after each alpha.

    Raises:
        Stopped: if `progress` returns False.
    """
    errors = []
    for i, alpha in enumerate(alphas):
        s = awq_scales(mean, alpha)
        off = [output_error(W - rounding(W * s).dequantize() / s, H) for W in Ws]
        errors.append(float(torch.stack(off).sum()))
        report(progress, (i + 1) / len(alphas), f"alpha {alpha:g}")
    best = min(range(len(alphas)), key=errors.__getitem__)
    return Scales(alphas[best], awq_scales(mean, alphas[best]), tuple(errors))


def search_clip(W: Tensor, H: Tensor, rounding: Rounding) -> AffineCodes:
    """Round weights with each group's range clipped where that lowers the output error.

    A group's share is chosen by its own error, as if there were no other groups. Their inputs correlate, so
    this is not exact: the result is kept only if the whole layer's error is lower than without clipping.

    Args:
        W: weights, shape (N, K).
        H: 2 X X^T of the inputs, shape (K, K).
        rounding: how they are rounded.
    """
    N, K = W.shape
    g = rounding.group_size
    within = torch.stack([H[k : k + g, k : k + g] for k in range(0, K, g)])  # (G, g, g)
    least = torch.full((N, K // g), torch.inf, device=W.device)
    chosen = torch.ones_like(least)
    for clip in CLIPS:
        D = (W - rounding(W, clip).dequantize()).view(N, -1, g).transpose(0, 1)  # (G, N, g)
        error = ((D @ within) * D).sum(dim=-1).T  # (N, G)
        better = error < least
        least = torch.where(better, error, least)
        chosen = torch.where(better, clip, chosen)
    whole, clipped = rounding(W), rounding(W, chosen)
    pays = output_error(W - clipped.dequantize(), H) < output_error(W - whole.dequantize(), H)
    return clipped if bool(pays) else whole
