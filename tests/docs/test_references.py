"""The bibliography: every work once, and every work that is cited."""

import re
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEYS = Counter(re.findall(r"^@\w+\{([^,]+),", (ROOT / "docs" / "references.bib").read_text(encoding="utf-8"), re.M))


def test_every_entry_stands_once_and_every_citation_has_one():
    assert [key for key, times in Counter(key.lower() for key in KEYS.elements()).items() if times > 1] == []
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, cwd=ROOT).stdout.split()
    folders = ("theory/", "kernels/", "simulators/", "analysis/", "papers/")
    missing = {
        f"{name}: {key}"
        for name in listed
        if name.startswith(folders)
        for key in re.findall(r"\[([A-Z][A-Za-z]+\d{4}[a-z]?)\]_", (ROOT / name).read_text(encoding="utf-8"))
        if key not in KEYS
    }
    assert not missing, sorted(missing)


def test_every_page_stands_in_a_table_of_contents():
    docs = ROOT / "docs"
    held = set()
    for page in docs.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for line in tree.strip().splitlines():
                entry = re.sub(r".*<(.*)>", r"\1", line.strip())
                if entry and not entry.startswith(":"):
                    held |= set(page.parent.glob(entry if entry.endswith(".md") else f"{entry}.md"))
    pages = {page for page in docs.rglob("*.md") if not {"_build", "_site", "examples"} & set(page.parts)}
    assert {str(p.relative_to(docs)) for p in pages - held - {docs / "index.md"}} == set()
