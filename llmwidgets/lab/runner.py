"""Runs one function on a worker thread, always for the newest arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Arguments = dict[str, Any]


class Runner:
    """Calls `work(arguments)` for what was submitted last; what is queued behind a run is replaced, not kept.

    The thread lives only while there is work, so that nothing is left behind.
    """

    def __init__(self, work: Callable[[Arguments], None]) -> None:
        self._work = work
        self._lock = threading.Condition()
        self._next: Arguments | None = None
        self._thread: threading.Thread | None = None

    def submit(self, arguments: Arguments) -> None:
        """Run for these arguments as soon as the run under way ends; return at once."""
        with self._lock:
            self._next = arguments
            self._lock.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llmwidgets-explore", daemon=True)
                self._thread.start()

    @property
    def newer(self) -> bool:
        """Whether newer arguments wait for the run under way to end."""
        with self._lock:
            return self._next is not None

    def settle(self, seconds: float) -> bool:
        """Wait inside a run; return at once with False when newer arguments come, else True."""
        with self._lock:
            return not self._lock.wait_for(lambda: self._next is not None, seconds)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs and nothing is queued; return whether that was reached."""
        if threading.current_thread() is self._thread:
            return False  # called from inside the work itself: waiting would never end
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                arguments, self._next = self._next, None
                if arguments is None:
                    self._thread = None
                    self._lock.notify_all()
                    return
            self._work(arguments)
