"""`load`: from a name or a folder to an engine. Weights from safetensors only, code from Transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from llmwidgets.engine.bundled import ALIASES, DEFAULT, bundled_folder, models
from llmwidgets.engine.engine import Engine

_DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def load(
    name_or_path: str | Path = DEFAULT,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    max_model_len: int | None = None,
) -> Engine:
    """Load a model; a bundled one needs no network.

    Args:
        name_or_path: a bundled name (`lw.models()`), `"draft"`, a local folder in Transformers' layout, or a
            model of the Hugging Face Hub such as `"Qwen/Qwen3-0.6B"`.
        device: `"cpu"`, `"cuda"`, ...; by default the CPU.
        dtype: `"float32"`, `"bfloat16"`, `"float16"` or `"float64"`; by default float32 on the CPU, the
            checkpoint's own elsewhere.
        max_model_len: the most tokens of prompt and output together; by default what the model was trained
            for, and this argument is the way past it.

    Raises:
        ValueError: for an unknown name, pickled weights, or a value that is not allowed.
        OSError: if the Hub cannot be reached or has no such model.
    """
    source = _source(str(name_or_path))
    place = _device(device)
    wanted = _dtype(dtype, place)
    model, tokenizer = _read(source, wanted)
    engine = Engine(model.to(place), tokenizer, max_model_len)
    engine.name = source.name if isinstance(source, Path) else source
    return engine


def _source(name: str) -> Path | str:
    """Return the local folder of a model, or its name on the Hub."""
    bundled = bundled_folder(name)
    folder = bundled if bundled is not None else Path(name).expanduser()
    if name and folder.is_dir():
        _refuse_pickles(folder)
        return folder
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/"):
        return name
    known = [model.name for model in models()] + [a for a in ALIASES if bundled_folder(a) is not None]
    raise ValueError(
        f"name_or_path={name!r} is not known; allowed are the bundled models "
        f"({', '.join(known) or 'none here'}), a local folder with config.json "
        "and safetensors, or a Hub name such as 'Qwen/Qwen3-0.6B'"
    )


def _refuse_pickles(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"the folder {str(folder)!r} has no config.json; allowed are models of Transformers")
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        raise ValueError(
            f"the folder {str(folder)!r} has only pickled weights ({pickled[0]}), which could run any code "
            "when opened; allowed are safetensors (model.save_pretrained writes them)"
        )
    raise ValueError(f"the folder {str(folder)!r} has no weights; allowed are safetensors")


def _read(source: Path | str, dtype: torch.dtype | str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Said explicitly, since left open Transformers would ask at the terminal.
    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": isinstance(source, Path)}
    with _quietly() if isinstance(source, Path) else nullcontext():  # a download may show how far it is
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True, **safely)
    has_tokenizer = not isinstance(source, Path) or any(source.glob("tokenizer*"))
    return model, AutoTokenizer.from_pretrained(source, **safely) if has_tokenizer else None


@contextmanager
def _quietly() -> Iterator[None]:
    """Show no progress bars; an engine never prints."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _device(device: str | torch.device | None) -> torch.device:
    try:
        place = torch.device("cpu" if device is None else device)
        torch.empty(0, device=place)
    except (
        RuntimeError,
        TypeError,
        AssertionError,
    ) as error:  # unknown, malformed, not in this build of torch
        raise ValueError(f"device={device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return place


def _dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype | str:
    if dtype is None:
        return torch.float32 if device.type == "cpu" else "auto"
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} is not allowed; allowed are {', '.join(map(repr, _DTYPES))}")
    known: torch.dtype = _DTYPES[name]
    return known
