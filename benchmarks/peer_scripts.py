"""The scripts that peers' pages load from another host, answered from npm packages on this disk.

So a peer is seen in its best case: the network costs it nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import BrowserContext, Route

CDN = "https://cdnjs.cloudflare.com/ajax/libs/"
PACKAGES = ("requirejs@2.3.6", "d3@5.7.0", "jquery@2.1.0")  # npm has no jquery 2.0.0, which BertViz asks for
SCRIPTS = {
    f"{CDN}require.js/2.3.6/require.min.js": "requirejs/require.js",
    f"{CDN}d3/5.7.0/d3.min.js": "d3/dist/d3.min.js",
    f"{CDN}jquery/2.0.0/jquery.min.js": "jquery/dist/jquery.min.js",
}


def fetch_scripts(folder: Path) -> dict[str, str]:
    """Install the npm packages into `folder` unless they are there; return the path of each address.

    Without npm, or if one of them does not come, return nothing.
    """
    found = {address: folder / "node_modules" / path for address, path in SCRIPTS.items()}
    npm = shutil.which("npm")
    if npm and not all(path.exists() for path in found.values()):
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run([*command, *PACKAGES], check=False, capture_output=True, timeout=120)
    complete = all(path.exists() for path in found.values())
    return {address: str(path) for address, path in found.items()} if complete else {}


def answer_from_disk(context: BrowserContext, scripts: Mapping[str, str]) -> list[str]:
    """Cut the context off from every host, but answer `scripts`; return the list that requests go to."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        address = route.request.url
        asked.append(address)
        if address in scripts:
            headers = {"access-control-allow-origin": "*"}
            route.fulfill(path=scripts[address], content_type="text/javascript", headers=headers)
        else:
            route.abort()

    context.route(re.compile("^(https?|wss?):"), answer)
    return asked
