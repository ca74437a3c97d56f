"""The lab notebooks that come with the package: where they are, what they are called, how they are copied."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Lab:
    """One lab notebook."""

    path: Path
    """The notebook."""
    title: str
    """Its name for readers."""
    minutes: int
    """How long a reader needs for it."""

    @property
    def number(self) -> str:
        """The number at the start of the file name, two digits."""
        return self.path.name.split("_")[0]


@dataclass(frozen=True)
class Copies:
    """What `copy_labs` did, by file names."""

    copied: tuple[str, ...]
    """Labs that were not there before."""
    outdated: tuple[str, ...]
    """Labs that were there and come from another version of the package; they stay as they are."""


def labs_folder() -> Path:
    """Return the folder with the labs: inside an installed package, beside it in a checkout.

    Raises:
        FileNotFoundError: if there is neither.
    """
    for folder in (PACKAGE / "labs", PACKAGE.parent / "labs"):
        if any(folder.glob("*.ipynb")):
            return folder
    raise FileNotFoundError(f"there are no labs in {PACKAGE / 'labs'}; install the package again")


def find_labs() -> list[Lab]:
    """Return all labs in the order of their numbers."""
    labs = []
    for path in sorted(labs_folder().glob("[0-9][0-9]_*.ipynb")):
        facts = read_notebook(path)["metadata"]["llmwidgets"]
        labs.append(Lab(path, facts["title"], facts["minutes"]))
    return labs


def copy_labs(folder: Path) -> Copies:
    """Copy each lab that `folder` does not have; never overwrite.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copied, outdated = [], []
    for lab in find_labs():
        copy = folder / lab.path.name
        if not copy.exists():
            with copy.open("xb") as file:  # "x": if it came into being just now, it is somebody's
                file.write(lab.path.read_bytes())
            copied.append(copy.name)
        elif _revision_of(copy) != _revision_of(lab.path):
            outdated.append(copy.name)
    return Copies(tuple(copied), tuple(outdated))


def read_notebook(path: Path) -> dict[str, Any]:
    """Return a notebook as the JSON that it is."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def revision(notebook: dict[str, Any]) -> str:
    """Return what identifies the text and code of a lab, whatever its outputs.

    A lab carries it in its metadata, so that a copy in which a learner works still says where it is from.
    """
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    return hashlib.sha256("\x00".join(sources).encode()).hexdigest()[:12]


def _revision_of(path: Path) -> str | None:
    """Return the revision that a notebook says it is from; None if it does not say or cannot be read."""
    try:
        found = read_notebook(path)["metadata"]["llmwidgets"]["revision"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None
