"""What is tried once when an engine is made: does each layer reach our attention, and do the logits agree?"""

from __future__ import annotations

import torch
from torch import Tensor

from llmwidgets.engine.batch import Batch, Chunk, LayerFacts, WantedMask
from llmwidgets.engine.forward import PackedForward
from llmwidgets.engine.kv_cache import BlockTable, KVCache

# Largest difference of logits, as a share of the largest logit: rounding of the two orders of summation.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def probe(forward: PackedForward, vocab_size: int, max_model_len: int) -> tuple[LayerFacts, ...]:
    """Run two short sequences, packed and in chunks, and compare with the model's own attention.

    Returns:
        How each layer attends.

    Raises:
        ValueError: with the family's name, if the packed path cannot run the model.
    """
    config = forward.model.config.get_text_config()
    family = forward.model.config.model_type
    first = [(3 + 7 * i) % vocab_size for i in range(min(13, max_model_len))]
    second = [(5 + 11 * i) % vocab_size for i in range(min(6, max_model_len))]
    try:
        batches, logits = _packed(forward, first, second)
    except (ValueError, TypeError) as error:
        raise ValueError(_refusal(family, f"its attention cannot be taken over: {error}")) from error
    layers = batches[0].layers
    if sorted(layers) != list(range(config.num_hidden_layers)):
        reached = (
            f"only {len(layers)} of {config.num_hidden_layers} layers reach Transformers' attention interface"
        )
        raise ValueError(_refusal(family, reached))
    _check_masks(family, batches[1])  # one sequence: its masks say nothing of packing
    plain = torch.stack([forward.plain(first)[-1], forward.plain(second)[-1]])
    difference = float((logits - plain).abs().max())
    allowed = _TOLERANCE.get(plain.dtype, 1e-1) * float(plain.abs().max())
    if not difference <= allowed:
        raise ValueError(
            _refusal(
                family,
                f"its logits differ from a plain forward's by {difference:.2g} (allowed {allowed:.2g})",
            )
        )
    return tuple(layers[index] for index in sorted(layers))


def check_reach(forward: PackedForward, max_model_len: int) -> None:
    """Raise ValueError unless the model computes something at the last position of the context."""
    batch = forward.prepare([Chunk([0])])
    batch.positions += max_model_len - 1
    try:
        forward.run(batch)
    except (IndexError, RuntimeError) as error:
        raise ValueError(
            f"max_model_len={max_model_len} is not allowed: the model's position embeddings end before it"
        ) from error


def _packed(forward: PackedForward, first: list[int], second: list[int]) -> tuple[list[Batch], Tensor]:
    """Return the batches and the last logits of both; `first` goes in two chunks, beside `second`."""
    cache = KVCache(num_blocks=3)
    one, two = BlockTable(16, [2]), BlockTable(16, [0])
    cut = len(first) // 2
    batches = [
        forward.prepare(
            [
                Chunk(first[:cut], 0, one.slots(cut, forward.device), num_logits=0),
                Chunk(second, 0, two.slots(len(second), forward.device)),
            ],
            cache,
        ),
        forward.prepare([Chunk(first[cut:], cut, one.slots(len(first), forward.device))], cache),
    ]
    of_second, of_first = (forward.run(batch)[-1] for batch in batches)
    return batches, torch.stack([of_first, of_second])


def _check_masks(family: str, batch: Batch) -> None:
    """Refuse masks other than causal ones and the windows that the layers name themselves."""
    windows = {facts.sliding_window for facts in batch.layers.values()}
    for mask in batch.masks:
        if mask.local_size is not None and mask.local_size not in windows:
            raise ValueError(
                _refusal(family, "its masks have a window that no layer passes to its attention")
            )
        if not _is_known(mask):
            raise ValueError(_refusal(family, "its attention mask is neither causal nor a sliding window"))


def _is_known(mask: WantedMask) -> bool:
    """Compare a mask with causal or sliding-window, at the places where others differ from both."""
    far = 4096 if mask.local_size is None else mask.local_size
    for query, key in (
        (0, 1),
        (far, far + 1),
        (far, far),
        (far, 1),
        (far, 0),
        (2 * far, far),
        (2 * far, far + 1),
    ):
        known = key <= query and (mask.local_size is None or key > query - mask.local_size)
        if (
            bool(mask.allows(torch.tensor(0), torch.tensor(0), torch.tensor(query), torch.tensor(key)))
            != known
        ):
            return False
    return True


def _refusal(family: str, reason: str) -> str:
    return f"models of the family {family!r} cannot run on this engine: {reason}"
