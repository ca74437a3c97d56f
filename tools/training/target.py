"""The target: next-token loss at the last layer, and at one early exit a step."""

from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tools.training.data import Batch, Batches
from tools.training.early_exit import (
    draw_keep,
    exit_choice,
    exit_depth,
    last_loss,
    layer_dropout_rates,
    target_losses,
)
from tools.training.loop import Training, train
from tools.training.settings import Budget, Settings


def new_model(config: LlamaConfig, seed: int, device: torch.device) -> LlamaForCausalLM:
    """A model with the seed's random weights, those that write to the residual stream made smaller."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                p.mul_((2 * config.num_hidden_layers) ** -0.5)
    return model.to(device)


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """bfloat16 products on a GPU; a CPU computes in float32."""
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda")


def train_target(
    config: LlamaConfig,
    batches: Batches,
    settings: Settings,
    budget: Budget,
    folder: Path,
    device: torch.device,
    compile_model: bool = True,
) -> tuple[LlamaForCausalLM, Training]:
    """A trained target; `settings.exit_weight` 0 trains the same shape without the early-exit loss."""
    model = new_model(config, settings.seed, device)
    rates = layer_dropout_rates(config.num_hidden_layers, settings.layer_dropout)
    both = torch.compile(target_losses, disable=not compile_model)
    last = torch.compile(last_loss, disable=not compile_model)

    def parts_of(batch: Batch, step: int) -> Tensor:
        keep = draw_keep(rates, settings.batch_size, device)
        with mixed_precision(device):
            if settings.exit_weight == 0:
                return last(model, batch.input_ids, batch.labels, keep, settings.dropout)
            choice = exit_choice(step, config.num_hidden_layers, device)
            weight = settings.exit_weight * exit_depth(step, config.num_hidden_layers)
            weights = torch.tensor([1.0, weight], device=device)
            return weights * both(model, batch.input_ids, batch.labels, keep, choice, settings.dropout)

    training = train(folder.name, model, parts_of, batches, settings, budget, folder)
    return model, training
