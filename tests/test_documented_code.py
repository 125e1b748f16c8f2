"""Every Python snippet of these pages runs, from the top of its page to the end."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["own_maps.md"]


def snippets(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for match in re.finditer(r"```python\n(.*?)```", text, flags=re.DOTALL):
        yield text[: match.start()].count("\n") + 1, match[1]


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_runs(page):
    names = {"__name__": "page"}
    found = list(snippets(page))
    assert found
    for line, code in found:
        exec(compile("\n" * line + code, str(DOCS / page), "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_no_other_code_than_python_looks_like_it(page):
    """A fence that is neither python nor text would escape the test."""
    fences = re.findall(r"^```(\w*)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(fences) <= {"python", "text", "console", ""}
