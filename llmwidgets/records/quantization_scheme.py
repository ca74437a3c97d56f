"""`QuantizationScheme`: how weights become codes, and what each method allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.record import Record

Method = Literal["rtn", "int8", "nf4", "fp4", "gptq", "awq"]
WHOLE_ROW = -1

# NormalFloat, quantiles of the normal distribution (Dettmers et al. 2023, QLoRA, appendix E).
NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
    1.0,
)  # fmt: skip
# A sign, two bits of exponent and one of mantissa, in the order of bitsandbytes' codes.
FP4_LEVELS = (
    0.0, 0.005208333333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25,
    -0.0, -0.005208333333, -0.66666667, -1.0, -0.33333333, -0.5, -0.16666667, -0.25,
)  # fmt: skip

_BITS: dict[str, tuple[int, ...]] = {
    "rtn": (2, 3, 4, 5, 6, 7, 8),
    "gptq": (2, 3, 4, 5, 6, 7, 8),
    "awq": (2, 3, 4, 5, 6, 7, 8),
    "int8": (8,),
    "nf4": (4,),
    "fp4": (4,),
}
_BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # bitsandbytes' own


@dataclass(frozen=True, repr=False)
class QuantizationScheme(Record):
    """A method with its knobs.

    Raises:
        ValueError: for a knob that the method does not have, with what it allows.
    """

    method: Method
    """`"rtn"`: round to nearest; `"int8"`: LLM.int8 (Dettmers et al. 2022); `"nf4"`, `"fp4"`: 16 levels that
    are no grid (QLoRA); `"gptq"` (Frantar et al. 2023); `"awq"` (Lin et al. 2024)."""
    bits: int = 4
    """Of one code."""
    group_size: int = 64
    """Neighbouring weights of a row that share a scale; -1 for the whole row."""
    symmetric: bool = True
    """Whether code 0 stands for 0; else each group has a zero point (`"rtn"`, `"gptq"`, `"awq"`)."""
    act_order: bool = False
    """Whether GPTQ takes the columns with the largest inputs first."""
    clip: float = 1.0
    """Share of a group's largest weight that the levels reach to; above 0, at most 1. AWQ finds its own."""
    threshold: float = 0.0
    """LLM.int8 computes columns with an input of at least this size in float; 0 for none."""
    double_quant: bool = False
    """Whether the scales themselves are quantized to 8 bits (`"nf4"`, `"fp4"`; QLoRA, section 3)."""

    def __post_init__(self) -> None:
        """Refuse what the method does not have."""
        if self.method not in get_args(Method):
            raise ValueError(f"method={self.method!r} is not known; allowed are {_listed(get_args(Method))}")
        if type(self.bits) is not int or self.bits not in _BITS[self.method]:
            raise ValueError(
                f"bits={self.bits!r} is not allowed for {self.method!r}; allowed are "
                f"{_listed(_BITS[self.method])}"
            )
        self._check_group_size()
        for name in ("symmetric", "act_order", "double_quant"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} is not allowed; allowed is True or False")
        if not self.symmetric and self.has_codebook:
            raise ValueError(
                f"symmetric=False is not allowed for {self.method!r}, whose levels are fixed; allowed for "
                "'rtn', 'gptq' and 'awq'"
            )
        if self.act_order and self.method != "gptq":
            raise ValueError(f"act_order=True is not allowed for {self.method!r}; allowed for 'gptq'")
        if self.double_quant and self.method not in ("nf4", "fp4"):
            raise ValueError(
                f"double_quant=True is not allowed for {self.method!r}; allowed for 'nf4' and 'fp4'"
            )
        _check_number("clip", self.clip, lambda clip: 0 < clip <= 1, "a number above 0, at most 1")
        _check_number("threshold", self.threshold, lambda threshold: threshold >= 0, "a number of at least 0")
        if self.clip != 1 and self.method == "awq":
            raise ValueError(
                f"clip={self.clip!r} is not allowed for 'awq', which finds its own; allowed is 1"
            )
        if self.threshold and self.method != "int8":
            raise ValueError(
                f"threshold={self.threshold!r} is not allowed for {self.method!r}; allowed for 'int8'"
            )

    @classmethod
    def of(
        cls,
        method: Method,
        bits: int | None = None,
        group_size: int | None = None,
        symmetric: bool = True,
        act_order: bool = False,
        clip: float = 1.0,
        threshold: float | None = None,
        double_quant: bool = False,
    ) -> QuantizationScheme:
        """Return the scheme with each method's usual values for what is None.

        Those are 4 bits and groups of 64; for `"int8"` 8 bits, a scale a row, and the threshold 6.
        """
        is_int8 = method == "int8"
        return cls(
            method,
            (8 if is_int8 else 4) if bits is None else bits,
            (WHOLE_ROW if is_int8 else 64) if group_size is None else group_size,
            symmetric,
            act_order,
            clip,
            (6.0 if is_int8 else 0.0) if threshold is None else threshold,
            double_quant,
        )

    @property
    def has_codebook(self) -> bool:
        """Whether levels are bitsandbytes' own, else integers of a grid."""
        return self.method in ("int8", "nf4", "fp4")

    @property
    def is_calibrated(self) -> bool:
        """Whether the method looks at the inputs of a layer."""
        return self.method in ("gptq", "awq")

    @property
    def first_code(self) -> int:
        """The least code; the others follow one by one."""
        if self.method in ("nf4", "fp4"):
            return 0
        return -127 if self.method == "int8" else -(2 ** (self.bits - 1))

    @property
    def levels(self) -> NDArray[np.float32]:
        """What each code stands for, by code from `first_code` on, in units of the scale."""
        if self.method in ("nf4", "fp4"):
            return np.array(NF4_LEVELS if self.method == "nf4" else FP4_LEVELS, np.float32)
        if self.method == "int8":
            return np.arange(-127, 128, dtype=np.float32) / np.float32(127)
        return np.arange(self.first_code, -self.first_code, dtype=np.float32)

    @property
    def label(self) -> str:
        """The scheme in a few words, such as `"gptq, 3 bits, groups of 64"`."""
        parts = [self.method, f"{self.bits} bits"]
        parts.append("a scale a row" if self.group_size == WHOLE_ROW else f"groups of {self.group_size}")
        parts += [] if self.symmetric else ["zero points"]
        parts += ["act-order"] if self.act_order else []
        parts += [f"clipped to {self.clip:g}"] if self.clip != 1 else []
        parts += [f"threshold {self.threshold:g}"] if self.method == "int8" else []
        parts += ["double quantization"] if self.double_quant else []
        return ", ".join(parts)

    def num_groups(self, columns: int) -> int:
        """Return how many groups a row has.

        Raises:
            ValueError: if the group size does not divide the columns.
        """
        if self.group_size == WHOLE_ROW:
            return 1
        if columns % self.group_size:
            divisors = [size for size in range(8, columns + 1) if columns % size == 0][:8]
            raise ValueError(
                f"group_size={self.group_size} does not divide the {columns} columns; groups of a row are of "
                f"equal size, so allowed are divisors of {columns}, such as {_listed(divisors)}"
            )
        return columns // self.group_size

    def _check_group_size(self) -> None:
        size = self.group_size
        if isinstance(size, bool) or not isinstance(size, int) or (size < 1 and size != WHOLE_ROW):
            raise ValueError(
                f"group_size={size!r} is not allowed; allowed is a number from 1, or -1 for the whole row"
            )
        if self.method == "int8" and size != WHOLE_ROW:
            raise ValueError(
                f"group_size={size} is not allowed for 'int8', which has a scale a row; allowed is -1"
            )
        if self.method in ("nf4", "fp4") and size not in _BLOCKS:
            raise ValueError(
                f"group_size={size} is not allowed for {self.method!r}; allowed are {_listed(_BLOCKS)}"
            )


def _check_number(name: str, value: object, fits: Callable[[float], bool], allowed: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
        raise ValueError(f"{name}={value!r} is not allowed; allowed is {allowed}")


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(repr, values))
