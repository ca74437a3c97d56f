"""What a learner has done so far: a small file in the folder of the labs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Progress:
    """Reads and writes `.llmwidgets/progress.json` under a folder; a damaged file counts as none."""

    def __init__(self, folder: Path | None = None) -> None:
        """Look under `folder`, by default the current one."""
        self.path = (folder or Path.cwd()) / ".llmwidgets" / "progress.json"

    @property
    def ignored(self) -> bool:
        """Whether nothing is read or written: in tests of the labs, and where the learner says so."""
        return "PYTEST_CURRENT_TEST" in os.environ or "LLMWIDGETS_NO_PROGRESS" in os.environ

    def get(self, exercise_id: str) -> Entry:
        """Return what is kept for one exercise or prediction; empty if nothing is."""
        entry = self._read().get(exercise_id)
        return dict(entry) if isinstance(entry, dict) else {}

    def update(self, exercise_id: str, **facts: Any) -> None:
        """Keep some facts; a folder that cannot be written is no reason to stop a learner."""
        if self.ignored:
            return
        everything = self._read()
        everything[exercise_id] = self.get(exercise_id) | facts
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(everything, indent=1), encoding="utf-8")
            partial.replace(self.path)
        except OSError:
            return

    def reset(self) -> None:
        """Forget everything."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        if self.ignored:
            return {}
        try:
            everything = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return everything if isinstance(everything, dict) else {}


def reset_progress() -> None:
    """Forget all answers, attempts and hints kept in the current folder."""
    Progress().reset()
