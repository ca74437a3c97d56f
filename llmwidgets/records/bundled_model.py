"""`BundledModel`: what is known of a model without loading it."""

from __future__ import annotations

from dataclasses import dataclass

from llmwidgets.records.record import Record


@dataclass(frozen=True, repr=False)
class BundledModel(Record):
    """A model that is shipped inside the package."""

    name: str
    """What `lw.load` takes."""
    model_type: str
    """Transformers' name of the family."""
    num_parameters: int
    """Weights, tied ones counted once."""
    num_layers: int
    """Decoder layers."""
    hidden_size: int
    """Width of the residual stream."""
    vocab_size: int
    """Tokens the model knows."""
    max_model_len: int
    """Tokens of context the model was trained for."""
    num_bytes: int
    """Size of the weights on disk."""

    def __repr__(self) -> str:
        """Return one line with name and size."""
        return (
            f"BundledModel({self.name!r}, {self.model_type}, {self.num_parameters / 1e6:.1f}M parameters, "
            f"{self.num_layers} layers, max_model_len={self.max_model_len})"
        )
