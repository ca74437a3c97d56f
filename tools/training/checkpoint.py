"""A run's state on disk, written so that a stop at any moment leaves a whole file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tools.training.errors import TrainingError


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(
    path: Path,
    identity: dict[str, Any],
    position: Position,
    model: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
) -> None:
    """Write everything that going on needs; `identity` says of which run it is."""
    state = {
        "identity": identity,
        "step": position.step,
        "seconds": position.seconds,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load_checkpoint(
    path: Path,
    identity: dict[str, Any],
    model: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
) -> Position:
    """Go on from `path` if it is there; a checkpoint of another run is an error."""
    if not path.exists():
        return Position()
    device = next(model.parameters()).device
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        saved = state["identity"]
    except Exception:
        raise TrainingError(f"{path} is no checkpoint of this script") from None
    different = sorted(k for k in identity.keys() | saved.keys() if identity.get(k) != saved.get(k))
    if different:
        raise TrainingError(
            f"{path} is of another configuration ({', '.join(different)}): "
            "choose another --output, or remove it"
        )
    model.load_state_dict(state["model"])
    for optimizer, saved_optimizer in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved_optimizer)
    return Position(step=state["step"], seconds=state["seconds"])
