"""Every snippet of README and docs runs as written.

A page's Python blocks run in order in one process, in an empty folder. A block with a file name as its caption is written there
first; lines that start with ``$`` in a ``console`` block are run by the shell. Findings, measured tables and decisions hold records,
not snippets. Snippets of a page that need something of their surroundings find it in PRELUDES.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    ROOT / "docs" / "tutorial_theorem.md",
    ROOT / "docs" / "coming_from_elsewhere.md",
]

ALWAYS = ("README",)
"""Pages that every run of the suite tries; the commit's slice of slow tests takes the others in turn."""


def blocks(page):
    """(kind, file name or "", text) of each block that runs."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        info, body = found["info"].strip(), found["body"]
        caption = re.match(r":caption: (\S+)\n\n?", body)
        if info == "{code-block} python" and caption:
            yield "file", caption[1], body[caption.end() :]
        elif info == "python":
            yield "python", "", body
        elif info == "console":
            yield "shell", "", "\n".join(line[2:] for line in body.splitlines() if line.startswith("$ "))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=() if page.stem in ALWAYS else pytest.mark.slow)
        for page in PAGES
        if list(blocks(page))
    ],
)
def test_the_snippets_of_a_page_run_as_written(page, tmp_path):
    binaries = tmp_path / "bin"  # `attnlab` and `python` of this environment, whatever is activated
    binaries.mkdir()
    for name, code in (
        ("attnlab", "from attnlab.papers.lab.commands.cli import main; raise SystemExit(main())"),
        ("python", None),
    ):
        call = f'exec {sys.executable} "$@"' if code is None else f'exec {sys.executable} -c "{code}" "$@"'
        (binaries / name).write_text(f"#!/bin/sh\n{call}\n")
        (binaries / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for name in ("ATTNLAB_HOME", "PYTEST_VERSION"):  # a reader's shell has neither
        environment.pop(name, None)
    script = []
    for kind, name, text in blocks(page):
        if kind == "file":
            (work / name).write_text(text)
        elif kind == "python":
            script.append(text)
        else:
            done = subprocess.run(
                ["/bin/sh", "-ec", text], cwd=work, env=environment, capture_output=True, text=True, timeout=280
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    if script:
        (work / "snippets.py").write_text("\n".join(script))
        done = subprocess.run(
            [sys.executable, "snippets.py"], cwd=work, env=environment, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_a_block_is_found_by_its_kind(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```{code-block} python\n:caption: a.py\n\nx = 1\n```\ntext\n```python\ny = 2\n```\n```console\n$ ls\nout\n```\n"
    )
    assert list(blocks(page)) == [("file", "a.py", "x = 1\n"), ("python", "", "y = 2\n"), ("shell", "", "ls")]
