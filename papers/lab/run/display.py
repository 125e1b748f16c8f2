"""Progress on stderr: a live display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.threads import begun

_EVERY = 10.0  # seconds between lines where stderr is no terminal


@dataclass
class _Running:
    step: int
    n_steps: int
    loss: float | None
    since: float
    from_step: int


class Display:
    """Shows the blocks that run (step, steps per second, loss, time left) and the claims that are judged.

    All methods may be called from any thread.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._lock = threading.RLock()
        self._names: dict[str, str] = {}
        self._running: dict[str, _Running] = {}
        self._judging: dict[str, float] = {}
        self._finished = self._items = self._judged = 0
        self._started = self._told = time.monotonic()
        self._live: Any = None
        self._quiet = quiet
        self._closed = threading.Event()
        self._ticking: threading.Thread | None = None

    def say(self, text: str) -> None:
        """One line that stays."""
        with self._lock, contextlib.suppress(OSError, ValueError):  # nobody reads: that is no reason to end the run
            if self._live is not None:
                self._live.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=sys.stderr, flush=True)

    def start(self, items: int) -> None:
        """Show from now on the progress of a run of so many claims and figures."""
        self._items = items
        if self._quiet:
            return
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            with contextlib.suppress(OSError, ValueError):
                live.start()
                self._live = live
        with contextlib.suppress(UsageError):  # a run can do without telling how far it is
            self._ticking = begun(self._tick)

    def add(self, key: str, name: str) -> None:
        """A block is waiting for a worker."""
        with self._lock:
            self._names[key] = name

    def progress(self, key: str, step: int, n_steps: int, loss: float | None = None) -> None:
        """A block has done ``step`` of ``n_steps``."""
        with self._lock:
            known = self._running.get(key)
            if known is None or step < known.step:
                self._running[key] = _Running(step, n_steps, loss, time.monotonic(), step)
            else:
                known.step, known.loss = step, loss

    def done(self, key: str) -> None:
        """A block is finished and kept."""
        with self._lock:
            self._finished += 1
            self._running.pop(key, None)

    def judging(self, name: str) -> None:
        """A claim is being searched or proved, without blocks that could be counted."""
        with self._lock:
            self._judging[name] = time.monotonic()

    def judged(self, name: str, *, item: bool = True) -> None:
        """A claim has its verdict (``item``), or a search has ended."""
        with self._lock:
            self._judging.pop(name, None)
            self._judged += item

    def close(self) -> None:
        """Stop showing."""
        self._closed.set()
        if self._ticking is not None:
            self._ticking.join(2)
        with self._lock:
            if self._live is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._live.stop()
                self._live = None

    def lines(self) -> list[str]:
        """What is shown now, the sum last."""
        now = time.monotonic()
        with self._lock:
            shown = [self._line(key, state, now) for key, state in self._running.items()]
            shown += [f"{name}  judged since {_clock(now - since)}" for name, since in self._judging.items()]
            parts = [f"{self._judged} of {self._items} claims and figures"] if self._items else []
            parts += [f"{self._finished} of {len(self._names)} blocks"] if self._names else []
        return [*shown, f"{', '.join(parts)} done, {_clock(now - self._started)}"]

    def _tick(self) -> None:
        while not self._closed.wait(0.25):
            with self._lock, contextlib.suppress(OSError, ValueError):
                if self._live is not None:
                    self._live.update(self._fitted(self.lines()), refresh=True)
                elif time.monotonic() - self._told > _EVERY:
                    self._told = time.monotonic()
                    *shown, total = self.lines()
                    print("\n".join([total, *(f"  {line}" for line in shown)]), file=sys.stderr, flush=True)

    def _fitted(self, lines: list[str]) -> Any:
        """As many lines as the terminal is high, each cut to its width."""
        from rich.text import Text

        height = max(2, self._live.console.size.height - 1)
        if len(lines) > height:
            lines = [*lines[: height - 2], f"… and {len(lines) - height + 1} more", lines[-1]]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _line(self, key: str, state: _Running, now: float) -> str:
        elapsed = now - state.since
        rate = (state.step - state.from_step) / elapsed if elapsed > 0.5 else 0.0
        left = f"{_clock((state.n_steps - state.step) / rate)} left" if rate > 0 else "…"
        loss = f"  loss {state.loss:.4f}" if state.loss is not None else ""
        return f"{self._names.get(key, key[:12])}  step {state.step}/{state.n_steps}  {rate:.0f} steps/s{loss}  {left}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{seconds:02d}" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
