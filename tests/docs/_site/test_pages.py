"""The pages that the site makes from what is committed."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", DOCS / "_site" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_powers_has_a_row_for_every_committed_page(pages):
    rows = [line for line in pages.power_table(DOCS / "measured").splitlines() if line.startswith("| [")]
    assert [row.split("[")[1].split("]")[0] for row in rows] == sorted(
        file.stem.removeprefix("power_") for file in (DOCS / "measured").glob("power_*.md")
    )


def test_a_row_says_what_the_page_says_and_a_page_without_its_line_is_named(pages, tmp_path):
    file = tmp_path / "power_toy.md"
    file.write_text("| more than 5 % | 40 | 30 (75%) | 8 | 2 | 2 (5%) |\n\nMedian over equality verdicts: 1.5 %.\n")
    assert (
        pages.power_table(tmp_path).splitlines()[-1]
        == "| [toy](measured/power_toy.md) | 40 | 30 (75 %) | 38 (95 %) | 2 | 1.5 % |"
    )
    file.write_text("nothing")
    with pytest.raises(ValueError, match=r"power_toy\.md has no row"):
        pages.power_table(tmp_path)
