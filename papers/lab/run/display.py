"""Progress on stderr: a live display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any


class Display:
    """Shows the blocks that run: step, steps per second, loss, time left. All methods may be called from any thread."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._state: dict[str, tuple[int, int, float | None, float, float]] = {}
        self._finished = 0
        self._started = self._told = time.monotonic()
        self._live = None
        self._quiet = quiet
        self._tty = sys.stderr.isatty() and not quiet
        self._closed = threading.Event()

    def say(self, text: str) -> None:
        """One line that stays."""
        with self._lock:
            if self._live is not None:
                self._live.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=sys.stderr, flush=True)

    def add(self, key: str, name: str) -> None:
        """A block is waiting for a worker."""
        with self._lock:
            self._names[key] = name

    def done(self, key: str) -> None:
        """A block is finished and kept."""
        with self._lock:
            self._finished += 1
            self._state.pop(key, None)
        self._show()

    def listen(self, queue: Any) -> None:
        """Show what local workers report on ``queue``."""
        if self._tty:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()

        def drain() -> None:
            import queue as queues

            while not self._closed.is_set():
                try:
                    key, step, n_steps, loss = queue.get(timeout=0.5)
                except queues.Empty:
                    continue
                except (OSError, EOFError):
                    return
                now = time.monotonic()
                with self._lock:
                    first = self._state.get(key, (step, n_steps, loss, now, step))
                    self._state[key] = (step, n_steps, loss, first[3], first[4])
                    if step >= n_steps:
                        self._state.pop(key)
                self._show()

        threading.Thread(target=drain, daemon=True).start()

    def close(self) -> None:
        """Stop showing."""
        self._closed.set()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self) -> None:
        with self._lock:
            lines = [self._line(key, *state) for key, state in self._state.items()]
            total = f"{self._finished} of {len(self._names)} blocks done, {time.monotonic() - self._started:.0f} s"
            if self._live is not None:
                self._live.update("\n".join([*lines, total]))
            elif not self._quiet and time.monotonic() - self._told > 10:
                self._told = time.monotonic()
                print("\n".join([total, *(f"  {line}" for line in lines)]), file=sys.stderr, flush=True)

    def _line(self, key: str, step: int, n_steps: int, loss: float | None, since: float, from_step: float) -> str:
        elapsed = time.monotonic() - since
        rate = (step - from_step) / elapsed if elapsed > 0.5 else 0.0
        left = f"{_clock((n_steps - step) / rate)} left" if rate > 0 else "…"
        shown = f"  loss {loss:.4f}" if loss is not None else ""
        return f"{self._names.get(key, key[:12])}  step {step}/{n_steps}  {rate:.0f} steps/s{shown}  {left}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{seconds:02d}" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
