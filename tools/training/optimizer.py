"""Muon on the layers' matrices, AdamW on embeddings and norms, one learning-rate schedule for both."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from tools.training.settings import Settings


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz: the nearest matrices with singular values about 1, for a stack (n, rows, columns)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = matrices.bfloat16()
    transposed = X.size(-2) > X.size(-1)
    if transposed:
        X = X.mT
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X.mT if transposed else X


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalized (Jordan et al., 2024).

    torch.optim.Muon computes the same update one matrix at a time; here those of one shape go together,
    which at this size is several times as fast.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        """Matrices only."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for shape, matrices in alike.items():
                self._step_alike(matrices, max(1.0, shape[0] / shape[1]) ** 0.5, group)

    def _step_alike(self, matrices: list[Tensor], scale: float, group: dict) -> None:
        for p in matrices:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        gradients = [p.grad for p in matrices]
        momenta = [self.state[p]["momentum"] for p in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = orthogonalize(torch.stack(nesterov)).to(matrices[0].dtype).unbind()
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, updates, alpha=-group["lr"] * scale)


def make_optimizers(model: torch.nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """The optimizers of a model; each group remembers its full learning rate as `peak`."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers." in n]
    embeddings = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers." not in n]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": embeddings, "weight_decay": 0.1},
        {"params": norms, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if settings.optimizer == "muon":
        decay = settings.weight_decay
        optimizers.append(Muon(matrices, lr=settings.matrix_learning_rate, momentum=0.95, weight_decay=decay))
    else:
        groups.append({"params": matrices, "weight_decay": settings.weight_decay})
    fused = embeddings[0].is_cuda
    optimizers.append(torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=fused))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_learning_rates(optimizers: list[torch.optim.Optimizer], progress: float, step: int) -> None:
    """Rise over 200 steps, hold, then fall to zero over the last 60%."""
    rise = min(1.0, (step + 1) / 200 if progress < 0.5 else 1.0)
    fall = min(1.0, (1 - progress) / 0.6)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rise * fall
