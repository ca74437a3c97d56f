"""`export`: a quantized model as a checkpoint in compressed-tensors' `pack-quantized` format."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from llmwidgets.engine.quantization.linear import QuantizedLinear
from llmwidgets.records.quantization_scheme import WHOLE_ROW, QuantizationScheme

if TYPE_CHECKING:
    from llmwidgets.engine.quantization.quantized_engine import QuantizedEngine


def export(engine: QuantizedEngine, folder: Path) -> Path:
    """See `QuantizedEngine.export`."""
    scheme = engine.quantization.scheme
    if scheme.has_codebook:
        raise ValueError(
            f"{scheme.method!r} has no place in the format pack-quantized; allowed are 'rtn', 'gptq', 'awq'"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"folder={str(folder)!r} is not empty; allowed is a new or an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:  # beside its place and then renamed, so that no one finds half a checkpoint
        tensors = checkpoint_tensors(engine.model)
        save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
        _write_config(engine, partial)
        if engine.tokenizer is not None:
            engine.tokenizer.save_pretrained(partial)
        partial.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except BaseException:  # an interrupt too
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def checkpoint_tensors(model: Any) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name: those of the model, and the shape of each packed matrix."""
    tensors: dict[str, Tensor] = {}
    places: set[int] = set()
    tied = getattr(model, "_tied_weights_keys", None) or {}
    for name, tensor in model.state_dict().items():
        if name in tied and tensor.data_ptr() in places:
            continue  # the loader ties it again
        places.add(tensor.data_ptr())
        tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            tensors[f"{name}.weight_shape"] = torch.tensor([module.out_features, module.in_features])
    return tensors


def quantization_config(scheme: QuantizationScheme, targets: list[str], ignored: list[str]) -> dict[str, Any]:
    """Return what compressed-tensors reads from a checkpoint's config.

    Args:
        scheme: how the weights were quantized.
        targets: full names of the quantized layers.
        ignored: full names of linear layers in float.
    """
    by_row = scheme.group_size == WHOLE_ROW
    weights = {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": scheme.symmetric,
        "strategy": "channel" if by_row else "group",
        "group_size": None if by_row else scheme.group_size,
        "actorder": "static" if scheme.act_order else None,
        "dynamic": False,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": targets,
                "weights": weights,
                "input_activations": None,
                "output_activations": None,
            }
        },
        "ignore": ignored,
        "kv_cache_scheme": None,
        # Transformers 5.23 with compressed-tensors 0.20 makes room for zero points that are not packed,
        # unless it turns codes into weights while it reads them.
        **({} if scheme.symmetric else {"dequantize": True}),
    }


def _write_config(engine: QuantizedEngine, folder: Path) -> None:
    model, scheme = engine.model, engine.quantization.scheme
    linears = [name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)]
    floats = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    model.config.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["quantization_config"] = quantization_config(scheme, ["Linear"] if linears else [], floats)
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(model.dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
