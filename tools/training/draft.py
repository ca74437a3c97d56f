"""The draft: distilled from the target's distribution over the next token."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from tools.training.data import Batch, Batches
from tools.training.early_exit import hidden_states, logits_of
from tools.training.loop import Training, train
from tools.training.settings import Budget, Settings
from tools.training.target import mixed_precision, new_model


def distillation_losses(target: LlamaForCausalLM, draft: LlamaForCausalLM, input_ids: Tensor) -> Tensor:
    """KL(p || q) and 1 - sum min(p, q), target p against draft q, means over positions, (2,)."""
    with torch.no_grad():
        target_logits = logits_of(target, hidden_states(target, input_ids, None, 0.0)[-1]).float()
        log_p = functional.log_softmax(target_logits, dim=-1)
        p = log_p.exp()
    log_q = functional.log_softmax(
        logits_of(draft, hidden_states(draft, input_ids, None, 0.0)[-1]).float(), dim=-1
    )
    divergence = (p * (log_p - log_q)).sum(-1).mean()
    # Its expected acceptance is what a draft is for; the gradient is zero where q is above p.
    missed = 1 - torch.minimum(p, log_q.exp()).sum(-1).mean()
    return torch.stack([divergence, missed])


def train_draft(
    config: LlamaConfig,
    target: LlamaForCausalLM,
    batches: Batches,
    settings: Settings,
    budget: Budget,
    folder: Path,
    device: torch.device,
    compile_model: bool = True,
) -> tuple[LlamaForCausalLM, Training]:
    """A trained draft; the target is not changed."""
    draft = new_model(config, settings.seed, device)
    target.requires_grad_(False)
    weights = torch.tensor([1.0, settings.overlap_weight], device=device)
    losses = torch.compile(distillation_losses, disable=not compile_model)

    def parts_of(batch: Batch, step: int) -> Tensor:
        with mixed_precision(device):
            return weights * losses(target, draft, batch.input_ids)

    training = train(folder.name, draft, parts_of, batches, settings, budget, folder)
    return draft, training
