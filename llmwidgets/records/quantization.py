"""`Quantization`: what became of the weights of a model, or of one layer, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmwidgets.records.quantization_scheme import QuantizationScheme
from llmwidgets.records.quantized_layer import QuantizedLayer
from llmwidgets.records.record import Record


@dataclass(frozen=True, eq=False, repr=False)
class Quantization(Record):
    """The quantized layers of one model; one of them if only that was asked for."""

    default_view: ClassVar[str | None] = "llmwidgets.widgets.quantization_histogram:QuantizationHistogram"

    model: str
    scheme: QuantizationScheme
    layers: tuple[QuantizedLayer, ...]
    """In the order of the model, at least one."""
    num_calibration_tokens: int = 0
    """Tokens whose inputs were looked at; 0 without calibration."""
    other_nbytes: int | None = None
    """Bytes of all other parameters of the model, each stored once; None in the record of one layer."""

    def __post_init__(self) -> None:
        """Refuse a record of nothing."""
        if not self.layers:
            raise ValueError("layers must hold at least one layer")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(layer.name for layer in self.layers)

    def layer(self, name: str) -> QuantizedLayer:
        """Return a layer by its name.

        Raises:
            ValueError: if it is not among the quantized ones.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        shown = ", ".join(self.names[:4]) + (", ..." if len(self.layers) > 4 else "")
        raise ValueError(f"name={name!r} is not a quantized layer; there are {shown}")

    @property
    def num_weights(self) -> int:
        """Weights of the quantized layers."""
        return sum(layer.num_weights for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of the quantized layers: packed codes, scales, zero points."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def float_nbytes(self) -> int:
        """Bytes of the same layers before."""
        return sum(layer.float_nbytes for layer in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Bits of codes, scales and zero points for each weight."""
        return 8 * self.nbytes / self.num_weights

    def __repr__(self) -> str:
        """Return one line with scheme and bytes."""
        layers = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return (
            f"Quantization({self.model!r}, {self.scheme.label}, {layers}, {self.nbytes:,} bytes of "
            f"{self.float_nbytes:,}, {self.bits_per_weight:.3g} bits a weight)"
        )

    def to_text(self) -> str:
        """Return the `repr`, then a line a layer, and what there is to know."""
        lines = [repr(self)]
        for layer in self.layers:
            rows, columns = layer.shape
            off = "" if layer.output_error is None else f", output error {layer.output_error:.4f}"
            rtn = "" if layer.rtn_output_error is None else f" (rtn {layer.rtn_output_error:.4f})"
            lines.append(
                f"  {layer.name}: {rows} × {columns}, {layer.nbytes:,} bytes, "
                f"weight error {layer.weight_error:.4f}{off}{rtn}"
            )
        notes = dict.fromkeys(note for layer in self.layers for note in layer.notes)
        return "\n".join([*lines, *notes])
