"""Results as tables for other programs."""

import sys
from pathlib import Path

import pytest

from attnlab.papers.lab.errors import UsageError

sys.path.insert(0, str(Path(__file__).parent))
from stored import put


def test_results_are_exported_as_csv_and_parquet(store, tmp_path):
    from attnlab.papers.lab.run.export import export

    put(store, 3)
    record = {"id": "p.c", "scale": "desk", "setting": {"dim": 3}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    store.put_verdict(store.begin_run({"targets": ["p"]}), record | {"interval": [1.0, 2.0]})
    assert export(store, tmp_path / "v.csv", None) == (1, 0)
    header, row = (line.split(",") for line in (tmp_path / "v.csv").read_text().splitlines()[:2])
    assert dict(zip(header, row, strict=False))["low"] == "1.0" and row[0] == "p.c"
    assert export(store, tmp_path / "r.csv", "toy.walk") == (3, 0)
    assert (tmp_path / "r.csv").read_text().splitlines()[1] == "0,3,0,x,,3.0"
    with pytest.raises(UsageError, match=r"write FILE\.csv"):
        export(store, tmp_path / "v.xls", None)
    with pytest.raises(UsageError, match=r"there are toy\.walk"):
        export(store, tmp_path / "r.csv", "toy.run")
    try:
        import duckdb
    except ImportError:
        with pytest.raises(UsageError, match=r"attnlab\[export\]"):
            export(store, tmp_path / "r.parquet", "toy.walk")
    else:
        assert export(store, tmp_path / "r.parquet", "toy.walk") == (3, 0)
        assert duckdb.read_parquet(str(tmp_path / "r.parquet")).fetchall()[0][-1] == 3.0


def test_what_is_damaged_is_left_out_of_a_table_and_counted(store, tmp_path):
    from attnlab.papers.lab.run.export import export

    for dim in (1, 2, 3):
        put(store, dim)
    first, second, _ = (row["key"] for row in store.rows())
    store.path(first).write_bytes(b"torn")
    store.catalogue._db.execute("update blocks set identity = '{torn' where key = ?", [second])
    assert export(store, tmp_path / "r.csv", "toy.walk") == (3, 2)
