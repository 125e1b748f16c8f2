"""``attnlab list`` and ``show`` answer from an index that is named by the hash of the sources, and say what loading says."""

import json
import subprocess
import sys

import pytest

from attnlab.papers.lab import index, registry
from attnlab.papers.lab.commands.describe import description, listing
from attnlab.papers.lab.commands.one_screen import one_screen

KEYS = ["rala_low_rank", "classical_facts"]


def test_a_paper_of_the_index_reads_as_the_paper_itself():
    for key in KEYS:
        paper = registry.load(key)
        read = index.from_record(json.loads(json.dumps(index.to_record(paper))))
        assert listing([read], {}) == listing([paper], {})
        assert one_screen(read, {}) == one_screen(paper, {})
        whole, indexed = registry.select([key]), registry.select([key], {key: lambda read=read: read})
        assert json.dumps(description([key], indexed, {})) == json.dumps(description([key], whole, {}))


def test_a_paper_of_the_index_cannot_be_run():
    read = index.from_record(index.to_record(registry.load("rala_low_rank")))
    with pytest.raises(TypeError, match="load it to run it"):
        next(iter(read.claims.values())).function(None, None)


def test_every_source_file_is_in_the_name_of_the_index(tmp_path, monkeypatch):
    import attnlab.papers

    before = index.sources_hash()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "paper.py").write_text("X = 1\n")
    monkeypatch.setattr(attnlab.papers, "__path__", [*attnlab.papers.__path__, str(tmp_path)])
    added = index.sources_hash()
    (tmp_path / "more" / "paper.py").write_text("X = 2\n")
    assert len({before, added, index.sources_hash()}) == 3


def test_one_listing_looks_at_the_sources_once(monkeypatch):
    looks = []
    monkeypatch.setattr(index, "_records", lambda: looks.append(None) or {key: None for key in registry.own_keys()})
    monkeypatch.setattr(index, "from_record", lambda record: record)
    assert {load() for load in index.homes().values()} == {None} and len(looks) == 1


def test_listing_from_the_index_imports_no_paper_and_little_else(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "own_keys", lambda: KEYS)
    monkeypatch.setattr(index, "_read", {})
    made = index._records()  # the first call
    assert sorted(made) == sorted(KEYS)
    code = (
        "import sys\n"
        "from attnlab.papers.lab import index, registry\n"
        f"registry.own_keys = lambda: {KEYS!r}\n"
        "from attnlab.papers.lab.commands.cli import main\n"
        f"for words in (['list', *{KEYS!r}], ['show', 'rala_low_rank']): assert main(words) == 0\n"
        "heavy = {'torch', 'numpy', 'scipy', 'sympy', 'matplotlib', 'attnlab.papers.rala_low_rank'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from pathlib import Path\n"
        "status = Path('/proc/self/status')\n"
        "rows = status.read_text().splitlines() if status.exists() else ['VmHWM: 0 kB']\n"
        "print([row for row in rows if row.startswith('VmHWM')][0].split()[1], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0 and "rala_low_rank." in done.stdout, done.stderr
    assert int(done.stderr.split()[-1]) < 100 * 1024  # KiB, where the system tells it


def test_reading_the_index_does_not_take_the_place_of_an_imported_paper():
    from attnlab.papers.lab.declare import DECLARED

    paper = registry.load("rala_low_rank")
    index.from_record(index.to_record(paper))
    assert DECLARED["rala_low_rank"] is paper
