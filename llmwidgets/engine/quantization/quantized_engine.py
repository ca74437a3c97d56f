"""`QuantizedEngine`: an engine over a model whose linear layers hold codes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from llmwidgets.engine.engine import Engine
from llmwidgets.engine.quantization.export import export
from llmwidgets.records.quantization import Quantization


class QuantizedEngine(Engine):
    """Runs the quantized weights through every method of `Engine`; not to be quantized again."""

    quantization: Quantization
    """What became of each layer."""

    def __init__(self, base: Engine, model: Any, quantization: Quantization) -> None:
        """Take over a quantized copy of a model.

        Args:
            base: the engine of the model as it was. What its probe found (path, layers) holds here too, and
                is not tried again: layers of bitsandbytes give slightly other numbers in another batch.
            model: the copy.
            quantization: how it was made.
        """
        vars(self).update(vars(base))
        self.model = model.eval()
        self.forward = type(base.forward)(model)
        self.name = f"{base.name} ({quantization.scheme.label})"
        self.quantization = quantization

    def export(self, folder: str | PathLike[str]) -> Path:
        """Write a checkpoint in compressed-tensors' `pack-quantized` format.

        Transformers loads it where compressed-tensors is installed, and vLLM serves it (`vllm serve FOLDER`).

        Args:
            folder: made if it is not there; refused if it holds anything.

        Returns:
            The folder.

        Raises:
            ValueError: for `"int8"`, `"nf4"` and `"fp4"`, whose layers are bitsandbytes' own.
        """
        return export(self, Path(folder))
