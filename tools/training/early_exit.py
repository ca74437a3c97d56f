"""LayerSkip's two means: layer dropout that rises with depth, and a loss at one early exit a step."""

import math

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM


def layer_dropout_rates(num_layers: int, last: float) -> list[float]:
    """Each layer's rate: 0 at the first, `last` at the last, exponential between."""
    if num_layers == 1:
        return [0.0]
    return [last * (math.exp(i * math.log(2) / (num_layers - 1)) - 1) for i in range(num_layers)]


def draw_keep(rates: list[float], batch_size: int, device: torch.device) -> Tensor:
    """For each layer and sequence 0 (skip the layer) or 1/(1 - rate), (layers, batch)."""
    rate = torch.tensor(rates, device=device)[:, None]
    return (torch.rand(len(rates), batch_size, device=device) >= rate) / (1 - rate)


def exit_choice(step: int, num_layers: int, device: torch.device) -> Tensor:
    """One layer before the last, in turn, as weights 0 and 1 over all: the compiled graph stays fixed."""
    choice = torch.zeros(num_layers, device=device)
    choice[step % max(1, num_layers - 1)] = 1.0
    return choice


def exit_depth(step: int, num_layers: int) -> float:
    """How much the step's exit counts, in proportion to its depth, 1 on average: late exits must be close."""
    exits = max(1, num_layers - 1)
    return 2 * (step % exits + 1) / (exits + 1)


def hidden_states(
    model: LlamaForCausalLM, input_ids: Tensor, keep: Tensor | None, dropout: float
) -> list[Tensor]:
    """What each layer leaves, (batch, context, hidden) each, before the final norm."""
    inner = model.model
    hidden = inner.embed_tokens(input_ids)
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
    rotary = inner.rotary_emb(hidden, positions)
    states = []
    for i, layer in enumerate(inner.layers):
        # No mask: attention is then causal, which is all that whole windows need.
        after = layer(hidden, attention_mask=None, position_ids=positions, position_embeddings=rotary)
        if keep is None:
            hidden = after
        else:
            hidden = hidden + keep[i][:, None, None] * functional.dropout(after - hidden, dropout)
        states.append(hidden)
    return states


def logits_of(model: LlamaForCausalLM, hidden: Tensor) -> Tensor:
    """The shared norm and head, at whichever layer."""
    return model.lm_head(model.model.norm(hidden))


def target_losses(
    model: LlamaForCausalLM, input_ids: Tensor, labels: Tensor, keep: Tensor, choice: Tensor, dropout: float
) -> Tensor:
    """Cross-entropy at the last layer and at the chosen exit, (2,)."""
    states = hidden_states(model, input_ids, keep, dropout)
    chosen = sum(weight * state for weight, state in zip(choice, states, strict=True))
    return torch.stack([_cross_entropy(model, states[-1], labels), _cross_entropy(model, chosen, labels)])


def last_loss(
    model: LlamaForCausalLM, input_ids: Tensor, labels: Tensor, keep: Tensor, dropout: float
) -> Tensor:
    """Cross-entropy at the last layer alone, (1,)."""
    return _cross_entropy(model, hidden_states(model, input_ids, keep, dropout)[-1], labels)[None]


def _cross_entropy(model: LlamaForCausalLM, hidden: Tensor, labels: Tensor) -> Tensor:
    logits = logits_of(model, hidden).float()
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
