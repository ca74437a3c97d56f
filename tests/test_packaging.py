"""What is shipped: bundles, labs and models in sdist and wheel; an import that loads no torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUNDLES = sorted(path.name for path in (ROOT / "web/src").glob("*.ts"))
LIGHT = """
import sys
import llmwidgets as lw
{use}
print(sorted({{name.partition('.')[0] for name in sys.modules}} & {{'torch', 'transformers', 'jupyterlab'}}))
"""


@pytest.mark.parametrize(
    "use",
    [
        "dir(lw)",
        "lw.AttentionHeatmap.from_arrays([[1.0]], ['a']).to_html()",
        "lw.explore, lw.load_record, lw.Attention",
    ],
)
def test_import_and_widgets_load_neither_torch_nor_transformers(use: str) -> None:
    code = LIGHT.format(use=use)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_lists_what_there_is() -> None:
    import llmwidgets as lw

    with pytest.raises(AttributeError, match=r"no attribute 'laod'; it has .*load"):
        lw.laod  # noqa: B018
    assert "AttentionHeatmap" in dir(lw)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The names in the sdist, and in the wheel that is made from it with the npm registry out of reach."""
    out = tmp_path_factory.mktemp("dist")
    build = "from hatchling.build import build_sdist; print(build_sdist(__import__('sys').argv[1]))"
    tools = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", tools, "hatchling"], check=True)
    environment = os.environ | {"PYTHONPATH": str(tools)}
    subprocess.run([sys.executable, "-c", build, out], cwd=ROOT, env=environment, check=True)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    no_registry = environment | {"npm_config_registry": "http://127.0.0.1:9"}
    build = build.replace("build_sdist", "build_wheel")
    unpacked = out / sdist.name.removesuffix(".tar.gz")
    subprocess.run([sys.executable, "-c", build, out], cwd=unpacked, env=no_registry, check=True)
    (wheel,) = out.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    return in_sdist, set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.browser  # slow, and asks the package index for hatchling
def test_sdist_and_wheel_carry_the_built_front_end(archives: tuple[set[str], set[str]]) -> None:
    for names in archives:
        for source in BUNDLES:
            assert f"llmwidgets/static/{source.removesuffix('.ts')}.js" in names
    assert {f"web/src/{source}" for source in BUNDLES} <= archives[0]
    assert not [name for name in archives[0] if "node_modules" in name]


@pytest.mark.browser
def test_sdist_and_wheel_carry_the_recordings_that_labs_replay(archives: tuple[set[str], set[str]]) -> None:
    for names in archives:
        assert "llmwidgets/lab/recordings/vllm-0.32-schedules.json" in names
        assert "llmwidgets/lab/recordings/README.md" in names


@pytest.mark.browser
def test_the_wheel_carries_models_and_labs(archives: tuple[set[str], set[str]]) -> None:
    wheel = archives[1]
    for path in [*(ROOT / "labs").glob("*.ipynb"), *(ROOT / "llmwidgets/models").rglob("*.safetensors")]:
        assert re.sub(r"^labs/", "llmwidgets/labs/", path.relative_to(ROOT).as_posix()) in wheel
    assert any(name.endswith(".safetensors") for name in wheel)
    assert not [name for name in wheel if name.startswith(("tests/", "web/"))]
