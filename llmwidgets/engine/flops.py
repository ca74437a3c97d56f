"""`WorkCounter`: how many FLOPs a pass computes and how many bytes it must read and write.

Counted: products with weights, the two products of attention, parameters, keys and values. Left out: norms,
activations and softmax, whose FLOPs are few, and activations' bytes, which stay in caches.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.pytorch_utils import Conv1D

from llmwidgets.engine.batch import Chunk, LayerFacts
from llmwidgets.engine.forward import Forward
from llmwidgets.engine.quantization.linear import QuantizedLinear


@dataclass(frozen=True)
class Work:
    """The work of one pass; see `records.roofline.RooflinePoint`, which has the same fields."""

    linear_flops: int
    attention_flops: int
    weight_bytes: int
    kv_read_bytes: int
    kv_written_bytes: int


class WorkCounter:
    """Counts passes of one model from the shapes of its parameters."""

    def __init__(self, model: Any, layers: Sequence[LayerFacts]) -> None:
        """Look at each parameter once.

        Args:
            model: a causal LM of Transformers.
            layers: how each layer attends.

        Raises:
            ValueError: if a module holds a matrix of which it is not known how often it is used, such as the
                experts of a mixture, of which each token uses some.
        """
        self.layers = layers
        self.flops_per_token = 0
        """Of each token's products with weights, all but the output head."""
        self.flops_per_logit_row = 0
        """Of the output head, for each token whose logits are computed."""
        self.bytes_per_pass = 0
        """Of the parameters that each pass reads once."""
        self.bytes_per_token = 0
        """Of embedding rows."""
        self.parameter_bytes = sum(parameter.nbytes for parameter in model.parameters())
        self._computes_all_logits = "logits_to_keep" not in inspect.signature(model.forward).parameters
        head = model.get_output_embeddings()
        for name, module in model.named_modules():
            own = list(module.parameters(recurse=False))
            if isinstance(module, nn.Embedding):
                self.bytes_per_token += module.weight[0].nbytes
                continue
            self.bytes_per_pass += sum(parameter.nbytes for parameter in own)
            if isinstance(module, QuantizedLinear):
                self.bytes_per_pass += module.nbytes
                self.parameter_bytes += module.nbytes
                self.flops_per_token += _flops_per_row(name, module)
            elif module is head:
                self.flops_per_logit_row += _flops_per_row(name, module)
            elif any(parameter.ndim > 1 for parameter in own):
                self.flops_per_token += _flops_per_row(name, module)

    def count(self, chunks: Sequence[Chunk]) -> Work:
        """Return the work of one packed pass over chunks."""
        num_tokens = sum(len(chunk.token_ids) for chunk in chunks)
        logit_rows = num_tokens if self._computes_all_logits else sum(chunk.num_logits for chunk in chunks)
        attention = read = written = 0
        for chunk in chunks:
            new = len(chunk.token_ids)
            for layer in self.layers:
                unseen = max(0, chunk.num_computed - layer.sliding_window + 1) if layer.sliding_window else 0
                seen = chunk.num_computed + new - unseen  # positions whose keys this layer reads
                kv_bytes = layer.num_kv_heads * (layer.key_size + layer.value_size) * layer.bytes_per_number
                attention += 2 * layer.num_heads * new * seen * (layer.key_size + layer.value_size)
                read += seen * kv_bytes
                written += new * kv_bytes
        return Work(
            linear_flops=num_tokens * self.flops_per_token + logit_rows * self.flops_per_logit_row,
            attention_flops=attention,
            weight_bytes=self.bytes_per_pass + num_tokens * self.bytes_per_token,
            kv_read_bytes=read,
            kv_written_bytes=written,
        )


def check_count(forward: Forward, counter: WorkCounter) -> None:
    """Hold the formula against PyTorch's own counter, in one short pass by eager attention.

    PyTorch counts nothing for its fused attention on a CPU, so the pass must be eager.

    Raises:
        ValueError: if the two differ.
    """
    token_ids = [1, 2, 3, 4, 5]
    work = counter.count([Chunk(token_ids, num_logits=len(token_ids))])
    counted = flops_by_torch(forward, token_ids)
    if work.linear_flops + work.attention_flops != counted:
        raise ValueError(
            f"models of the family {forward.model.config.model_type!r} cannot be put under a roofline: by "
            f"formula {len(token_ids)} tokens take {work.linear_flops + work.attention_flops} FLOPs, but "
            f"PyTorch counts {counted}"
        )


def flops_by_torch(forward: Forward, token_ids: list[int]) -> int:
    """Return the FLOPs that PyTorch counts in one pass with the logits of all positions, attention eager."""
    model = forward.model
    with forward.lock:
        own = model.config._attn_implementation
        model.set_attn_implementation("eager")
        try:
            with FlopCounterMode(display=False) as counter:
                forward.plain(token_ids)
        finally:
            model.set_attn_implementation(own)
    return int(counter.get_total_flops())


def _flops_per_row(name: str, module: nn.Module) -> int:
    if isinstance(module, QuantizedLinear) or (
        isinstance(module, nn.Linear) and module.weight.is_floating_point()
    ):
        return 2 * module.in_features * module.out_features
    if isinstance(module, Conv1D):  # GPT-2's name for a linear layer with its weight transposed
        return 2 * int(module.weight.numel())
    raise ValueError(
        f"{name} is a {type(module).__name__}, and how much of it a pass uses is not known here; allowed are "
        "models whose matrices are linear layers and embeddings, so no mixtures of experts, and no layers of "
        "bitsandbytes, of which PyTorch's own counter sees nothing"
    )
