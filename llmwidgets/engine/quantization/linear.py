"""`QuantizedLinear`: a linear layer that holds packed codes, and turns them into weights in each pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own convention

from llmwidgets.engine.quantization.packing import pack, unpack
from llmwidgets.engine.quantization.rtn import AffineCodes, Grid, dequantize


class QuantizedLinear(nn.Module):
    """Stands for an `nn.Linear` of N rows and K columns; its tensors are those of the exported checkpoint."""

    weight_packed: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor | None
    bias: Tensor | None

    def __init__(self, coded: AffineCodes, bits: int, bias: Tensor | None, dtype: torch.dtype) -> None:
        """Pack codes and zero points.

        Args:
            coded: the weights.
            bits: of a code.
            bias: shape (N,), shared and not copied.
            dtype: that the layer computes in, and holds its scales in.
        """
        super().__init__()
        self.bits = bits
        self.out_features, self.in_features = coded.codes.shape
        self.register_buffer("weight_packed", pack(coded.codes, bits))
        scales = coded.grid.scales.to(dtype).clone(memory_format=torch.contiguous_format)
        self.register_buffer("weight_scale", scales)
        zeros = coded.grid.zero_points
        # Zero points lie one row under the other, so theirs are the columns that are packed.
        packed_zeros = None if zeros is None else pack(zeros.T.contiguous(), bits).T.contiguous()
        self.register_buffer("weight_zero_point", packed_zeros)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @property
    def grid(self) -> Grid:
        """Scales and unpacked zero points, shape (N, G)."""
        if self.weight_zero_point is None:
            return Grid(self.weight_scale, None)
        zeros = unpack(self.weight_zero_point.T.contiguous(), self.bits, self.out_features).T
        return Grid(self.weight_scale, zeros)

    @property
    def codes(self) -> Tensor:
        """The unpacked codes, shape (N, K) int8."""
        return unpack(self.weight_packed, self.bits, self.in_features)

    @property
    def weight(self) -> Tensor:
        """The weights that the codes stand for, shape (N, K); made anew each time."""
        return dequantize(self.codes, self.grid)

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zero points as they are held."""
        return sum(held_bytes(buffer) for buffer in self.buffers())

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + bias."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return sizes and bits."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bits={self.bits}"


def held_bytes(tensor: Tensor) -> int:
    """Return the bytes of the memory that a tensor lies in."""
    return int(tensor.untyped_storage().nbytes())
