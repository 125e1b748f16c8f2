"""Progress is told for blocks and for searches, and fits the terminal."""

import io
import sys
import time

import pytest

from attnlab.papers.lab.run import display as displays
from attnlab.papers.lab.run.display import Display


def filled(display, name="induction_heads.train n_heads=8 dim=64 n_context=1024 n_steps=40000 [0–7]"):
    for k in range(30):
        display.add(f"{k}", name)
        display.progress(f"{k}", 100 + k, 40000, 0.123456)
    display.judging("paper.claim")
    return display


def test_blocks_and_searches_are_counted_and_named():
    display = filled(Display(quiet=True))
    display.start(7)
    display.done("3")
    display.judged("paper.other")
    *lines, total = display.lines()
    assert len(lines) == 30 and lines[-1].startswith("paper.claim  judged since 0:0")
    assert total.startswith("1 of 7 claims and figures, 1 of 30 blocks done, 0:0") and "step 100/40000" in lines[0]
    display.judged("paper.claim", item=False)
    assert len(display.lines()) == 30


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width, height", [(40, 10), (80, 24), (200, 50), (20, 3)])
def test_a_terminal_shows_no_line_that_wraps_and_no_more_lines_than_it_has(monkeypatch, width, height):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.setenv("TERM", "xterm")
    display = Display()
    display.start(3)
    try:
        filled(display)
        live = display._live
        shown = live.console.render_lines(display._fitted(display.lines()), pad=False)
        texts = ["".join(segment.text for segment in line) for line in shown]
        assert len(texts) < height or height == 3
        assert all(len(text) <= width for text in texts)
        assert texts[-1][: width - 1] in display.lines()[-1] and any("more" in text for text in texts) == (height < 32)
    finally:
        display.close()
    assert terminal.getvalue() is not None


def test_without_a_terminal_a_search_that_takes_long_is_told_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(displays, "_EVERY", 0.2)
    display = Display()
    display.start(1)
    display.judging("paper.claim")  # no block and no event: a for-all claim
    deadline = time.monotonic() + 20
    told = ""
    while "paper.claim  judged since" not in told and time.monotonic() < deadline:
        time.sleep(0.05)
        told += capsys.readouterr().err
    display.close()
    assert "0 of 1 claims and figures done" in told and "paper.claim  judged since" in told


class Closed(io.StringIO):
    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_display_that_nobody_reads_ends_no_run(monkeypatch, terminal):
    monkeypatch.setattr(displays, "_EVERY", 0.0)
    stream = Closed()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    display = filled(Display())
    display.say("before")
    display.start(3)
    time.sleep(0.6)
    assert display._ticking.is_alive()
    display.say("after")
    display.close()
