"""What is shipped inside the package, read from disk without torch."""

from __future__ import annotations

import json
from pathlib import Path

from llmwidgets.records.bundled_model import BundledModel

FOLDER = Path(__file__).parent.parent / "models"
DEFAULT = "classics"
ALIASES = {"target": "classics", "draft": "classics-draft"}  # the two parts that speculation gives them


def models() -> list[BundledModel]:
    """Return the models that `lw.load` opens without a network, the default first."""
    folders = [path.parent for path in FOLDER.glob("*/config.json")]
    return [
        _describe(folder) for folder in sorted(folders, key=lambda path: (path.name != DEFAULT, path.name))
    ]


def bundled_folder(name: str) -> Path | None:
    """Return the folder of a bundled model, by name or alias; None if it is not bundled."""
    folder = FOLDER / ALIASES.get(name, name)
    return folder if "/" not in name and (folder / "config.json").is_file() else None


def _describe(folder: Path) -> BundledModel:
    config = json.loads((folder / "config.json").read_text())
    sizes, num_bytes = 0, 0
    for path in folder.glob("*.safetensors"):
        num_bytes += path.stat().st_size
        with path.open("rb") as file:  # 8 bytes of length, then the tensors' names and shapes as JSON
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                sizes += _product(tensor["shape"])
    return BundledModel(
        name=folder.name,
        model_type=config["model_type"],
        num_parameters=sizes,
        num_layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        vocab_size=config["vocab_size"],
        max_model_len=config["max_position_embeddings"],
        num_bytes=num_bytes,
    )


def _product(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
