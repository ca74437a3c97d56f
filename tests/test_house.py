"""The arrows of the house: who may import whom, and what a bare import loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llmwidgets

PACKAGE = Path(llmwidgets.__file__).parent
# Folder -> folders it may import from, besides itself. `lab` alone sees both sides.
ARROWS = {
    "records": set(),
    "scheduling": {"records"},
    "engine": {"records", "scheduling"},
    "live": {"records"},
    "planning": {"records", "scheduling"},
    "widgets": {"records"},
    "lab": {"records", "widgets", "engine", "scheduling", "planning", "live"},
}
TORCH = {"torch", "transformers", "safetensors", "bitsandbytes"}
NOTEBOOK = {"ipywidgets", "anywidget", "traitlets", "IPython", "ipykernel"}
# Folder -> distributions that must not be imported there, not even inside a function.
FORBIDDEN = {
    "records": TORCH | NOTEBOOK,
    "scheduling": TORCH | NOTEBOOK,
    "engine": NOTEBOOK,
    "live": TORCH | NOTEBOOK,
    "planning": TORCH | NOTEBOOK,
    "widgets": TORCH,
    "lab": set(),
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] in ARROWS)


def imported(source: str, package: str) -> set[str]:
    """Return the dotted names that a module imports anywhere, `package` being the one it lies in."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def offences(folder: str, source: str, package: str) -> list[str]:
    """Return the imports of a module in `folder` that the house does not allow."""
    found = []
    for name in sorted(imported(source, package)):
        top, *rest = name.split(".")
        into = rest[0] if top == "llmwidgets" and rest else folder
        forbidden = into in ARROWS and into != folder and into not in ARROWS[folder]
        if forbidden or top in FORBIDDEN[folder]:
            found.append(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    parts = path.relative_to(PACKAGE).parts
    assert offences(parts[0], path.read_text(), ".".join(["llmwidgets", *parts[:-1]])) == []


def test_each_folder_with_code_has_its_arrows():
    folders = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/*.py")}
    assert folders - {"models", "static", "labs"} <= set(ARROWS)


@pytest.mark.parametrize(
    ("folder", "source", "offence"),
    [
        ("records", "from llmwidgets.engine import load", "llmwidgets.engine.load"),
        ("records", "def f():\n    import torch.nn", "torch.nn"),
        ("records", "from ..widgets import x", "llmwidgets.widgets.x"),
        ("records", "from llmwidgets import engine", "llmwidgets.engine"),
        ("widgets", "import transformers", "transformers"),
        ("widgets", "from llmwidgets.lab.explore import explore", "llmwidgets.lab.explore.explore"),
        ("engine", "from llmwidgets.widgets import figure", "llmwidgets.widgets.figure"),
        ("engine", "import IPython.display", "IPython.display"),
    ],
)
def test_the_test_sees_an_offence(folder, source, offence):
    assert offences(folder, source, f"llmwidgets.{folder}") == [offence]


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh process has loaded after some code."""
    command = f"{code}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", command], check=True, capture_output=True, text=True, timeout=120
    )
    return set(done.stdout.split())


def test_a_bare_import_loads_neither_torch_nor_a_notebook():
    assert not loaded_after("import llmwidgets") & (TORCH | NOTEBOOK | {"numpy"})


@pytest.mark.parametrize("name", ["Attention", "Generation", "load_record", "models"])
def test_records_need_neither_torch_nor_a_notebook(name):
    assert not loaded_after(f"import llmwidgets; llmwidgets.{name}") & (TORCH | NOTEBOOK)
