"""The catalogue under faults: foreign, older and flipped ones are noticed, and it can be made again from the files."""

import hashlib
import json
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run import care
from attnlab.papers.lab.run.blocks import key_of, pack
from attnlab.papers.lab.run.catalogue import APPLICATION, NAME, VERSION, Catalogue
from attnlab.papers.lab.run.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from stored import identity, put


def test_foreign_newer_and_broken_catalogues_are_named(tmp_path):
    place = tmp_path / "results"
    (place / "blocks").mkdir(parents=True)
    (place / NAME).write_bytes(b"this is not a database, but it is long enough to be read")
    with pytest.raises(UsageError, match="not a database"):
        Store(place)
    (place / NAME).unlink()
    with sqlite3.connect(place / NAME) as db:
        db.execute("create table songs (name text)")
    with pytest.raises(UsageError, match=r"another program \(tables songs\)"):
        Store(place)
    with pytest.raises(UsageError, match="another program"):
        care.repair(place)
    (place / NAME).unlink()
    Store(place).close()
    with sqlite3.connect(place / NAME) as db:
        db.execute(f"pragma user_version = {VERSION + 1}")
    with pytest.raises(UsageError, match="newer attnlab"):
        Store(place)


_OLD = """
create table blocks (
    key text primary key, simulation text not null, identity text not null, sha256 text not null,
    bytes integer not null, seconds real not null, created real not null);
create table runs (
    id integer primary key autoincrement, arguments text not null, started real not null, finished real,
    status integer);
create table verdicts (
    claim text not null, scale text not null, setting text not null, seed integer not null, replicas text not null,
    run integer not null, verdict text not null, record text not null, created real not null,
    primary key (claim, scale, setting, seed, replicas));
create table figures (
    figure text not null, scale text not null, run integer not null, files text not null, created real not null,
    primary key (figure, scale));
"""


def test_the_folder_of_an_older_attnlab_is_brought_up_to_date_and_loses_nothing(tmp_path):
    place = tmp_path / "results"
    data, key = pack({"x": np.arange(3.0)}), key_of(identity())
    (place / "blocks" / key[:2]).mkdir(parents=True)
    (place / "blocks" / key[:2] / f"{key}.npz").write_bytes(data)
    with sqlite3.connect(place / NAME) as db:
        db.executescript(_OLD)
        db.execute(
            "insert into blocks values (?, ?, ?, ?, ?, ?, ?)",
            (key, "toy.walk", json.dumps(identity()), hashlib.sha256(data).hexdigest(), len(data), 2, 3),
        )
        db.execute("insert into runs values (4, '{}', 1, null, null)")
        db.execute("insert into verdicts values ('p.c', 'desk', '{}', 0, 'None', 4, 'HOLDS', '{\"id\": \"p.c\"}', 5)")
        db.execute("insert into figures values ('p.fig1', 'desk', 4, '[]', 5)")
    with pytest.raises(UsageError, match="store upgrade"):
        Store(place, write=False)
    store = Store(place)
    assert (store.get(key)["x"] == np.arange(3.0)).all() and not care.verify(store)["catalogue"]
    assert store.runs()[0]["state"] == "interrupted" and store.begin_run({}) == 5
    assert store.catalogue.rows("verdicts")[0][0] == "p.c" and store.catalogue.rows("figures")[0][2] == ""
    assert store.catalogue.query("pragma application_id")[0][0] == APPLICATION
    store.close()


def test_a_catalogue_is_rebuilt_from_the_files(store, tmp_path):
    place, keys = tmp_path / "results", [put(store, n) for n in range(3)]
    run = store.begin_run({"targets": ["p"]})
    store.put_verdict(
        run, {"id": "p.c", "scale": "desk", "setting": {}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    )
    store.path(keys[0]).write_bytes(b"lost")
    store.close()
    (place / NAME).unlink()
    with pytest.raises(UsageError, match="no catalogue"):
        Store(place)
    record = care.repair(place)
    assert sorted(record["entered"]) == sorted(keys[1:]) and record["damaged"] == [keys[0]]
    again = Store(place)
    assert all((again.get(key)["x"] == np.arange(3.0) + n).all() for n, key in enumerate(keys) if n)
    again.close()


@pytest.mark.parametrize("flips", [64, pytest.param(512, marks=pytest.mark.slow)])
def test_every_flipped_byte_that_changes_something_is_noticed(store, tmp_path, flips):
    """Flips over the whole catalogue: each is noticed, or leaves every row and every table as it was."""
    place = tmp_path / "results"
    for n in range(40):
        put(store, n, ran={"loaded": {"k.c": "ab" * 32}})
    run = store.begin_run({"targets": ["p"]})
    for n in range(20):
        record = {"id": f"p.c{n}", "scale": "desk", "setting": {}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
        store.put_verdict(run, record)
    store.end_run(run, 0)
    store.close()
    file = place / NAME
    whole = file.read_bytes()

    def contents():
        catalogue = Catalogue(place, write=False)
        try:
            return [catalogue.rows(table, "order by 1, 2, 3") for table in ("blocks", "runs", "verdicts", "figures")]
        finally:
            catalogue.close()

    before, noticed = contents(), 0
    for position in np.random.default_rng(0).choice(len(whole), flips, replace=False):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x11]) + whole[position + 1 :])
        try:
            reader = Store(place, write=False)
        except UsageError:
            noticed += 1
            continue
        troubles = care.verify(reader)
        reader.close()
        if troubles["catalogue"] or troubles["damaged"]:
            noticed += 1
        else:
            assert contents() == before, f"byte {position} of {len(whole)}"
    file.write_bytes(whole)
    assert noticed > flips // 5
    assert contents() == before


def test_a_row_that_is_gone_is_noticed_and_repair_enters_it_again(store, tmp_path):
    keys = [put(store, n) for n in range(3)]
    store.close()
    with sqlite3.connect(tmp_path / "results" / NAME) as db:
        db.execute("delete from blocks where key = ?", (keys[1],))
    reader = Store(tmp_path / "results", write=False)
    record = care.verify(reader)
    reader.close()
    assert any("lost or gained rows: 2, not 3" in line for line in record["catalogue"]) and len(record["unknown"]) == 1
    assert care.repair(tmp_path / "results")["rebuilt"]
    again = Store(tmp_path / "results")
    assert all(again.has(key) for key in keys) and not care.verify(again)["catalogue"]
    again.close()


WRONG = [None, "x", "{torn", -1, 1e300, "[]", "null"]
COMMANDS = [["runs"], ["store", "list"], ["store", "verify", "--json"], ["store", "gc", "--dry-run", "--days", "0"]]


@pytest.mark.parametrize("table", ["blocks", "runs", "verdicts"])
def test_a_row_with_any_altered_value_is_passed_over_and_costs_no_command_its_answer(store, tmp_path, table, capsys):
    from attnlab.papers.lab.commands.cli import main
    from attnlab.papers.lab.run.catalogue import TABLES
    from attnlab.papers.lab.run.export import export
    from attnlab.papers.lab.run.latest import latest_verdicts

    put(store, 1)
    put(store, 2)
    record = {"id": "p.c", "scale": "desk", "setting": {"dim": 3}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    for targets in (["p"], ["q"]):
        store.put_verdict(run := store.begin_run({"targets": targets}), record | {"id": f"{targets[0]}.c"})
        store._lock.close()
        store._lock = None
    place, database = str(store.folder), store.catalogue._db
    assert run == 2
    for number, column in enumerate(TABLES[table]):
        if (table, column) == ("runs", "id"):
            continue  # SQLite holds it to whole numbers, and one that changed is a run with a wrong checksum
        before = database.execute(f"select rowid, {column} from {table} order by rowid desc limit 1").fetchone()
        for value in (b"\x00\xff", WRONG[number % len(WRONG)]):
            database.execute(f"update {table} set {column} = ? where rowid = ?", (value, before[0]))
            for words in COMMANDS:
                status = main([*words, "--out", place])
                told = capsys.readouterr()
                assert status in (0, 3) and "Traceback" not in told.err, (column, value, words, told.err)
                assert "--json" not in words or json.loads(told.out)
            assert export(store, tmp_path / "v.csv", None) and export(store, tmp_path / "r.csv", "toy.walk")
            latest_verdicts(store.folder, lambda claim, scale: {"dim": 3})
        database.execute(f"update {table} set {column} = ? where rowid = ?", (before[1], before[0]))
    assert store.catalogue.troubles() == []


def test_repair_keeps_the_rows_that_follow_an_altered_one(store):
    for dim in (1, 2, 3):
        put(store, dim)
    for name in "abc":
        store.begin_run({"targets": [name]})
        store._lock.close()
        store._lock = None
    store.catalogue._db.execute("update runs set arguments = ? where id = 1", (b"\x00\xff",))
    folder = store.folder
    store.close()
    care.repair(folder)
    again = Store(folder)
    assert [row["arguments"]["targets"] for row in again.runs()] == [["c"], ["b"]]
    assert len(again.rows()) == 3
    again.close()
