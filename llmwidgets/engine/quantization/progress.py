"""How long work says how far it is, and is stopped."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], bool]
"""Takes the share that is done, 0 to 1, and what is worked on; returns False to stop."""


class Stopped(Exception):  # noqa: N818  # nothing went wrong: who watches the progress asked for it
    """The caller's `progress` returned False; what was begun is dropped, and nothing else has changed."""


def report(progress: Progress | None, share: float, message: str) -> None:
    """Say how far the work is.

    Raises:
        Stopped: if the caller wants no more.
    """
    if progress is not None and progress(share, message) is False:
        raise Stopped(message)


def part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Return the progress of a part of the work, which goes from `start` to `stop` of the whole."""
    if progress is None:
        return None
    return lambda share, message: progress(start + (stop - start) * share, message)
