"""Checks the links of README, documents and labs that stay inside the repository; touches no network.

    python tools/check_links.py

A relative link must name a file or folder that exists, and an anchor must be a heading of its page.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parent.parent
PLACES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "labs/*.ipynb")
LINK = re.compile(r"""(?:\]\(\s*|(?:src|srcset|href)=["'])<?([^)"'>\s]+)""")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def text_of(path: Path) -> str:
    """Return the Markdown of a page; of a notebook its Markdown cells. Code is left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub (lower case) and as JupyterLab write them."""
    found: set[str] = set()
    text = FENCE.sub("", path.read_text(encoding="utf-8")) if path.suffix == ".md" else text_of(path)
    for heading in HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
        found.add(plain.replace(" ", "-"))
    return found


def broken(page: Path) -> list[str]:
    """Return one line for each link of `page` that leads nowhere."""
    lines = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:|//", link):
            continue  # another site, mail, or data
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        where = f"{page.relative_to(ROOT)}: {link}"
        if not target.exists():
            lines.append(f"{where}: there is no {name}")
        elif ROOT not in [target, *target.parents]:
            lines.append(f"{where}: leads out of the repository")
        elif anchor and target.suffix in (".md", ".ipynb") and anchor not in anchors(target):
            lines.append(f"{where}: {target.name} has no heading for #{anchor}")
    return lines


def main() -> int:
    """Check all pages; return 1 if a link is broken."""
    pages = sorted({page for place in PLACES for page in ROOT.glob(place)})
    lines = [line for page in pages for line in broken(page)]
    print("\n".join(lines or [f"{len(pages)} pages: every link inside the repository leads somewhere"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
