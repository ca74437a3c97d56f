"""The loop that target and draft share: clock, schedule, progress bar, checkpoints."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaForCausalLM

from tools.training.checkpoint import Position, load_checkpoint, save_checkpoint
from tools.training.data import Batch, Batches
from tools.training.optimizer import make_optimizers, set_learning_rates
from tools.training.settings import Budget, Settings

LossFunction = Callable[
    [Batch, int], Tensor
]  # (batch, step) -> the weighted parts of the loss; the sum is trained


@dataclass(frozen=True)
class Training:
    """What a finished training was."""

    name: str
    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    loss: float  # the first part's mean over the last steps, in nats a token
    device: str
    settings: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write training.json."""
        (folder / "training.json").write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Training":
        """Read training.json."""
        return cls(**json.loads((folder / "training.json").read_text(encoding="utf-8")))


def train(
    name: str,
    model: LlamaForCausalLM,
    parts_of: LossFunction,
    batches: Batches,
    settings: Settings,
    budget: Budget,
    folder: Path,
    checkpoint_seconds: float = 60.0,
) -> Training:
    """Train until the budget is spent, from the folder's checkpoint if there is one."""
    device = next(model.parameters()).device
    optimizers = make_optimizers(model, settings)
    identity = {
        "name": name,
        "shape": _shape(model),
        **{f"settings.{k}": v for k, v in asdict(settings).items()},
    }
    identity["budget"] = [budget.minutes, budget.steps]
    position = load_checkpoint(folder / "checkpoint.pt", identity, model, optimizers)
    model.train()
    tokens_a_step = settings.batch_size * settings.context
    bar = tqdm(desc=name, unit="tok", unit_scale=True, initial=position.step * tokens_a_step, mininterval=5)
    step, before, loss = position.step, position.seconds, torch.zeros(())
    clock = saved = time.perf_counter()
    seconds = before
    while (progress := budget.progress(step, seconds)) < 1.0:
        torch.manual_seed(
            settings.seed * 1_000_003 + step
        )  # so that a resumed run draws what it would have drawn
        set_learning_rates(optimizers, progress, step)
        parts = parts_of(batches[step], step)
        parts.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        loss = parts[0].detach() if step == position.step else loss.lerp(parts[0].detach(), 0.02)
        step += 1
        bar.update(tokens_a_step)
        if step % 10 == 0 or step == position.step + 1:
            if device.type == "cuda":
                torch.cuda.synchronize()
            if step == position.step + 1:
                clock = time.perf_counter()  # the first step compiles: its time is not training time
            _show(bar, loss, progress, seconds)
        seconds = before + time.perf_counter() - clock
        if time.perf_counter() - saved > checkpoint_seconds:
            save_checkpoint(folder / "checkpoint.pt", identity, Position(step, seconds), model, optimizers)
            saved = time.perf_counter()
    bar.close()
    save_checkpoint(folder / "checkpoint.pt", identity, Position(step, seconds), model, optimizers)
    model.eval()
    tokens = step * tokens_a_step
    training = Training(
        name=name,
        steps=step,
        tokens=tokens,
        seconds=round(seconds, 1),
        tokens_per_second=round(tokens / max(seconds, 1e-9)),
        loss=round(float(loss), 4),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        settings=asdict(settings),
    )
    training.save(folder)
    return training


def _show(bar: tqdm, loss: Tensor, progress: float, seconds: float) -> None:
    left = seconds * (1 - progress) / progress if progress > 0 else float("nan")
    bar.set_postfix_str(f"loss {float(loss):.4f}, {100 * progress:.1f}%, {left:.0f} s left", refresh=False)


def _shape(model: LlamaForCausalLM) -> list[int]:
    c = model.config
    return [c.vocab_size, c.hidden_size, c.intermediate_size, c.num_hidden_layers, c.num_attention_heads]
