"""What is tried once when an engine is made: which path runs the model, and do the logits agree?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llmwidgets.engine.batch import Batch, Chunk, LayerFacts, WantedMask
from llmwidgets.engine.compatible import CompatibleForward
from llmwidgets.engine.forward import Forward, PackedForward
from llmwidgets.engine.kv_cache import BlockTable, KVCache

# Largest difference of logits, as a share of the largest logit: rounding of the two orders of summation.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
# Share of positions that must agree: coarser rounding sends a token now and then to another expert.
_AGREEING = {torch.float64: 1.0, torch.float32: 1.0}
_BLOCK_SIZE = 4

# What families raise when they meet a cache or an attention function that they do not know.
_MISFITS = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Probed:
    """A path that runs a model, and how each layer attends there."""

    forward: Forward
    layers: tuple[LayerFacts, ...]


def choose_forward(model: Any, vocab_size: int, max_model_len: int) -> Probed:
    """Return the packed path if it runs the model, else the compatible one.

    Raises:
        ValueError: with the family's name and what each path lacks, if neither does.
    """
    refusals = []
    for forward in (PackedForward(model), CompatibleForward(model)):
        try:
            return Probed(forward, probe(forward, vocab_size, max_model_len))
        except ValueError as error:
            refusals.append(f"on the {forward.path} path {error}")
    raise ValueError(
        f"models of the family {model.config.model_type!r} cannot run on this engine: {'; '.join(refusals)}"
    )


def probe(forward: Forward, vocab_size: int, max_model_len: int) -> tuple[LayerFacts, ...]:
    """Run two short sequences in chunks and over one shared block, and compare with a plain forward.

    Returns:
        How each layer attends.

    Raises:
        ValueError: with the reason, if this path cannot run the model.
    """
    first = [(3 + 7 * i) % vocab_size for i in range(min(13, max_model_len))]
    cut = len(first) // 2
    shared = cut // _BLOCK_SIZE * _BLOCK_SIZE
    own = [(5 + 11 * i) % vocab_size for i in range(min(6, max_model_len - shared))]
    second = first[:shared] + own
    of_first, of_second = forward.plain(first), forward.plain(second)
    plain = torch.cat([of_first[:cut], of_second[shared:], of_first[cut:]])  # in the order of the chunks
    try:
        batches, logits = _in_chunks(forward, first, second, cut, shared)
    except torch.OutOfMemoryError:
        raise
    except _MISFITS as error:
        raise ValueError(f"a pass fails: {error}") from error
    layers = batches[0].layers
    num_layers = forward.model.config.get_text_config(decoder=True).num_hidden_layers
    if sorted(layers) != list(range(num_layers)):
        raise ValueError(f"only {len(layers)} of {num_layers} layers reach {forward.gate}")
    _check_masks(batches[1])  # one sequence: its masks say nothing of packing
    differences = (logits - plain).abs().amax(dim=-1)  # by position
    allowed = _TOLERANCE.get(plain.dtype, 1e-1) * float(plain.abs().max())
    if float((differences <= allowed).float().mean()) < _AGREEING.get(plain.dtype, 0.75):
        raise ValueError(
            f"the logits differ from a plain forward's by {float(differences.max()):.2g} "
            f"(allowed {allowed:.2g})"
        )
    return tuple(layers[index] for index in sorted(layers))


def _in_chunks(
    forward: Forward, first: list[int], second: list[int], cut: int, shared: int
) -> tuple[list[Batch], Tensor]:
    """Return the batches and the logits of all positions, chunk by chunk.

    `first` goes in two chunks, the first of them beside `second`, which takes over its `shared` tokens.
    """
    cache = KVCache(num_blocks=8, block_size=_BLOCK_SIZE)
    one, two = BlockTable(_BLOCK_SIZE, [5, 2, 7, 0]), BlockTable(_BLOCK_SIZE, [5 if shared else 6, 1, 3])
    own, rest = second[shared:], first[cut:]
    batches = [
        forward.prepare(
            [
                Chunk(first[:cut], 0, one.slots(cut, forward.device), cut),
                Chunk(own, shared, two.slots(len(second), forward.device), len(own)),
            ],
            cache,
        ),
        forward.prepare([Chunk(rest, cut, one.slots(len(first), forward.device), len(rest))], cache),
    ]
    return batches, torch.cat([forward.run(batch) for batch in batches])


def _check_masks(batch: Batch) -> None:
    """Refuse masks other than causal ones and the windows that the layers name themselves."""
    windows = {facts.sliding_window for facts in batch.layers.values()}
    for mask in batch.masks:
        if mask.local_size == 0:
            continue  # lets no query see any key: made, and given to no layer
        if mask.local_size is not None and mask.local_size not in windows:
            raise ValueError("the masks have a window that no layer passes to its attention")
        if not _is_known(mask):
            raise ValueError("the attention mask is neither causal nor a sliding window")


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
