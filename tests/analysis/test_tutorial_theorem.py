"""Every snippet of the tutorial runs, in order, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from attnlab.analysis.verdicts.verdict import Outcome

PLUGIN = "attnlab.analysis.pytest_plugin"
# installed with its entry point the plugin is there already
pytest_plugins = [] if any(point.value == PLUGIN for point in entry_points(group="pytest11")) else [PLUGIN]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial_theorem.md"
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n```text\n(.*?)```)?", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = []
    for code, _ in BLOCKS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(PAGE), "exec"), names)
        printed.append(out.getvalue())
    return names, printed


@pytest.mark.slow
def test_every_snippet_prints_what_the_page_shows(tmp_path, monkeypatch):
    names, printed = _run(tmp_path, monkeypatch)
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("```python") >= 8
    for (code, expected), got in zip(BLOCKS, printed, strict=True):
        assert got == expected, code
    # the marked test of step 7, run by hand on the verdict of step 5
    body = names["test_variance_of_two_values"]
    (mark,) = [m for m in body.pytestmark if m.name == "theorem"]
    assert mark.args[0] is names["slack"] and mark.kwargs["level"] == "certified"
    assert names["verdict"].outcome is Outcome.HOLDS
    body(names["verdict"])


def test_a_false_snippet_would_be_seen():
    """The twin: the body of step 7 does not accept a loose bound."""
    from dataclasses import replace

    from attnlab.analysis import Real, check, for_all

    verdict = check(for_all(x=Real(0, 1)).bound(lambda x: x, at_most=2), "certified")
    names: dict[str, object] = {"slack": for_all(x=Real(0, 1)).bound(lambda x: x, at_most=2)}
    exec(BLOCKS[-1][0], names)
    with pytest.raises(AssertionError):
        names["test_variance_of_two_values"](replace(verdict, tightness=0.5))
