"""How each layer of a model turns queries and keys: its frequencies and its pairs, found by measuring."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.capture import Capture, to_numpy
from llmwidgets.engine.kv_cache import KVCache
from llmwidgets.records.rope import Rope, apply_rope

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

_POSITION = 5  # where one token is run beside position 0: far enough to tell the fast pairs apart
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class RotarySource:
    """Frequencies as they lie in buffers of the model."""

    modules: tuple[str, ...]
    """Names of the rotary modules that hold them: one for all layers, in most families."""
    layer_type: str | None
    """Which layers it is for, such as `"full_attention"`; None for all."""
    inv_freq: NDArray[np.float32]
    """Radians a position, shape (F,)."""
    attention_factor: float
    rope_parameters: dict[str, Any]
    """Transformers' settings for it."""


@dataclass(frozen=True)
class LayerRotary:
    """How one layer turns its queries and keys."""

    source: RotarySource
    interleaved: bool
    first_turned: int

    def unturned(self, vectors: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return queries or keys, shape (..., T, D), of T positions as they were before they were turned."""
        angles = -positions.astype(np.float32)[:, None] * self.source.inv_freq
        back = 1 / self.source.attention_factor
        return apply_rope(vectors, angles, back, self.interleaved, self.first_turned)


def rotary_sources(model: Any) -> list[RotarySource]:
    """Return all frequencies that are in buffers of a Transformers model, equal ones once."""
    parameters = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    found: dict[tuple[str | None, bytes], RotarySource] = {}
    for name, module in model.named_modules():
        for buffer, values in module.named_buffers(recurse=False):
            layer_type = buffer.removesuffix("_inv_freq") if buffer != "inv_freq" else None
            if not buffer.endswith("inv_freq") or buffer.endswith("original_inv_freq") or values.ndim != 1:
                continue
            prefix = "" if layer_type is None else f"{layer_type}_"
            factor = float(getattr(module, f"{prefix}attention_scaling", 1.0))
            own = parameters if layer_type is None else parameters.get(layer_type) or {}
            inv_freq = to_numpy(values)
            key = (layer_type, inv_freq.tobytes())
            modules = (*(found[key].modules if key in found else ()), name)
            found[key] = RotarySource(modules, layer_type, inv_freq, factor, dict(own))
    return [source for source in found.values() if "rope_theta" in source.rope_parameters]


def layer_rotaries(engine: Engine) -> tuple[LayerRotary | None, ...]:
    """Return how each layer turns queries and keys, None for one that does not.

    One token is run at position 0 and at another. It attends to itself only, so nothing but the rotation
    differs; the frequencies and pairs that reproduce the difference are the layer's.

    Raises:
        ValueError: if the model has no rotary module, or one that turns in an unknown way.
    """
    sources = rotary_sources(engine.model)
    if not sources:
        raise ValueError(
            f"models of the family {engine.model.config.model_type!r} hold no inverse frequencies: their "
            "positions are no angles, or cannot be read; allowed are families with a rotary module, such as "
            "llama, qwen3, phi or gpt_neox"
        )
    layers = tuple(range(len(engine.layers)))
    capture = Capture(layers, (0,), last_only=False)
    cache = KVCache(num_blocks=1, block_size=2)
    batch = engine.forward.prepare([Chunk([1], 0, slice(0, 1)), Chunk([1], 0, slice(1, 2))], cache, capture)
    batch.positions[1] = _POSITION
    engine.forward.run(batch)
    tolerance = _TOLERANCE.get(engine.model.dtype, 5e-2)
    found = []
    for layer in layers:
        vectors = [capture.queries(layer)[0], capture.keys(layer, cache, slice(0, 2), [0])[0]]
        found.append(_match(vectors, sources, tolerance, f"layer {layer} of {engine.name}"))
    return tuple(found)


def own_rope(source: RotarySource, trained_length: int) -> Rope:
    """Return the frequencies of the model as it is."""
    plain = {
        key: value for key, value in source.rope_parameters.items() if isinstance(value, (str, int, float))
    }
    return Rope(
        "none",
        plain,
        np.array([trained_length], np.int64),
        source.inv_freq[None].copy(),
        source.attention_factor,
    )


def _match(
    vectors: list[NDArray[np.float32]], sources: list[RotarySource], tolerance: float, layer: str
) -> LayerRotary | None:
    """Return the rotation that takes row 0 of each of `vectors`, shape (2, D), to row 1."""
    size = max(float(np.abs(pair).max()) for pair in vectors)
    if all(np.abs(pair[1] - pair[0]).max() <= tolerance * size for pair in vectors):
        return None
    for source, interleaved in product(sources, (False, True)):
        num_turned = 2 * len(source.inv_freq)
        for first in sorted(
            {0, vectors[0].shape[1] - num_turned}
        ):  # some turn the first numbers, some the last
            angles = np.float32(_POSITION) * source.inv_freq
            if first >= 0 and all(
                np.abs(apply_rope(pair[0], angles, 1.0, interleaved, first) - pair[1]).max()
                <= tolerance * size
                for pair in vectors
            ):
                return LayerRotary(source, interleaved, first)
    raise ValueError(f"{layer} turns its queries and keys in a way that is unknown here")
