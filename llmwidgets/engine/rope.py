"""The frequencies of RoPE and of its three stretchings, in the papers' letters.

d numbers of a head are turned, in d / 2 pairs; b is the base (rope_theta); L the trained length; s the factor
by which the context is stretched. Positions need no model here, and neither do these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.rope import Rope

Floats = NDArray[np.float64]

SCALINGS = ("none", "linear", "dynamic", "yarn")


def rope_frequencies(d: int, b: float) -> Floats:
    """Return theta_i = b^(-2 i / d) for each pair, radians a position (Su et al. 2021, section 3.3)."""
    return b ** (-2 * np.arange(d // 2) / d)


def position_interpolation(d: int, b: float, s: float) -> Floats:
    """Return frequencies so that position m turns as m / s did (Chen et al. 2023, section 2.3)."""
    return rope_frequencies(d, b) / s


def dynamic_ntk(d: int, b: float, s: float, length: int, L: int) -> Floats:
    """Return frequencies of a base that grows with the sequence (Peng et al. 2023, section 3.3).

    Up to L tokens nothing changes. With s = 1 the slowest pair turns, over the whole sequence, as far as it
    did over L tokens; a larger s stretches more, as Transformers does it.
    """
    stretched = s * max(length, L) / L - (s - 1)
    return rope_frequencies(d, b * stretched ** (d / (d - 2)))


def yarn(d: int, b: float, s: float, L: int, alpha: float = 1, beta: float = 32) -> Floats:
    """Return frequencies that keep fast pairs and interpolate slow ones (Peng et al. 2023, section 3.2).

    A pair that turns more than `beta` times over L positions stays, one that turns less than `alpha` times is
    interpolated by s. Between them the ramp is straight over the pairs' index, as in the authors' code.
    """

    def pair_that_turns(times: float) -> float:
        """Return the index i, not whole, of the pair that turns this often over L positions."""
        return d * math.log(L / (times * 2 * math.pi)) / (2 * math.log(b))

    low = max(math.floor(pair_that_turns(beta)), 0)
    high = min(math.ceil(pair_that_turns(alpha)), d - 1)
    interpolated = np.clip((np.arange(d // 2) - low) / max(high - low, 0.001), 0, 1)
    return rope_frequencies(d, b) * (interpolated / s + 1 - interpolated)


def yarn_attention_factor(s: float) -> float:
    """Return what YaRN multiplies turned queries and keys with (Peng et al. 2023, section 3.4)."""
    return 0.1 * math.log(s) + 1 if s > 1 else 1.0


def scaled_rope(
    scaling: str,
    own: Rope,
    factor: float,
    trained_length: int,
    lengths: Sequence[int],
) -> Rope:
    """Return one stretching of a model's frequencies.

    Args:
        scaling: one of `SCALINGS`.
        own: the model's own, which `"none"` is.
        factor: s, at least 1.
        trained_length: L.
        lengths: ascending; for which lengths frequencies that depend on it are computed.
    """
    if scaling == "none":
        return own
    d, b = 2 * own.inv_freq.shape[1], float(own.rope_parameters["rope_theta"])
    kept: dict[str, Any] = {
        key: own.rope_parameters[key]
        for key in ("rope_theta", "partial_rotary_factor")
        if key in own.rope_parameters
    }
    parameters: dict[str, Any] = {"rope_type": scaling, **kept, "factor": float(factor)}
    attention_factor = 1.0
    if scaling == "linear":
        rows = [position_interpolation(d, b, factor)]
    elif scaling == "dynamic":
        rows = [dynamic_ntk(d, b, factor, length, trained_length) for length in lengths]
    else:
        rows = [yarn(d, b, factor, trained_length)]
        attention_factor = yarn_attention_factor(factor)
        parameters["original_max_position_embeddings"] = trained_length
    held = np.array(lengths if scaling == "dynamic" else lengths[-1:], np.int64)
    return Rope(scaling, parameters, held, np.stack(rows).astype(np.float32), attention_factor)
