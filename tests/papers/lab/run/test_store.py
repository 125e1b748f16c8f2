"""The results folder under faults: what is written is kept, what is damaged is noticed, what is foreign is refused."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import threading
import zipfile

import numpy as np
import pytest

from attnlab.analysis.writing import leftovers, sweep, write_atomically
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run import care
from attnlab.papers.lab.run.blocks import DamagedBlock, key_of, pack, pack_block, read_label, unpack
from attnlab.papers.lab.run.catalogue import APPLICATION, NAME, VERSION, Catalogue
from attnlab.papers.lab.run.live import RunLock
from attnlab.papers.lab.run.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    yield store
    store.close()


def identity(n=0, name="toy.walk"):
    return {"simulation": name, "fields": {"dim": n}, "seed": 0, "first": 0, "size": 3, "code": "c", "platform": {}}


def put(store, n=0, arrays=None, **more):
    key = key_of(identity(n))
    store.put(key, identity(n), {"x": np.arange(3.0) + n} if arrays is None else arrays, 1.0, **more)
    return key


def everything(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_arrays_come_back_bit_for_bit(store):
    arrays = {
        "b": np.random.default_rng(0).normal(size=(3, 4)),
        "a": np.array([-0.0, np.nan, np.inf]),
        "n": np.arange(3),
        "flags": np.array([True, False, True]),
        "text": np.array(["a", "bc", ""]),
        "half": np.arange(3, dtype=np.float16),
        "big": np.arange(3, dtype=">f8"),
        "none": np.zeros((3, 0)),
        "scalar": np.array(7),
        "turned": np.arange(6.0).reshape(2, 3).T,
    }
    back = store.get(put(store, arrays=arrays))
    assert set(back) == set(arrays)
    for name, value in arrays.items():
        assert back[name].shape == value.shape and back[name].dtype == value.dtype
        assert back[name].tobytes() == value.tobytes() and back[name].flags.writeable


def test_equal_arrays_give_equal_bytes_whatever_their_order_and_numpy_reads_them():
    x, y = np.arange(4.0), np.ones((2, 3), np.float32)
    assert pack({"x": x, "y": y}) == pack({"y": y.copy(), "x": x.copy()})
    assert pack({"x": x}) != pack({"x": x + 1})
    with np.load(io.BytesIO(pack_block(identity(), [], {"x": x})), allow_pickle=False) as archive:
        assert (archive["x"] == x).all()


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "remove", "folder", "swap", "longer"])
def test_a_harmed_file_is_detected_marked_and_computed_again(store, harm):
    key, other = put(store), put(store, 1)
    path = store.path(key)
    data = bytearray(path.read_bytes())
    path.unlink()
    if harm == "truncate":
        path.write_bytes(data[:-7])
    elif harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "folder":
        path.mkdir()
    elif harm == "swap":
        shutil.copy(store.path(other), path)
    elif harm == "longer":
        path.write_bytes(data + b"more")
    assert len(care.verify(store)["damaged"]) == 1
    with pytest.raises(DamagedBlock, match="damaged"):
        store.get(key)
    assert not store.has(key) and store.has(other)  # marked: the row is there, and nobody uses it
    assert key in [row["key"] for row in store.rows()]
    if harm == "folder":
        path.rmdir()
    put(store)
    assert store.has(key) and (store.get(key)["x"] == np.arange(3.0)).all()


def test_a_reader_does_not_mark_what_another_process_has_written_again(store):
    key = put(store)
    row = store.catalogue.rows("blocks", "where key = ?", [key])[0]
    put(store, arrays={"x": np.arange(3.0) + 7})  # meanwhile, elsewhere
    store.catalogue.rows = lambda *a, rows=store.catalogue.rows, **k: [row] if a[0] == "blocks" else rows(*a, **k)
    with pytest.raises(DamagedBlock):
        store.get(key)
    del store.catalogue.rows
    assert store.has(key) and store.get(key)["x"][0] == 7


def test_object_arrays_are_never_loaded_nor_written(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, x=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack(path.read_bytes())
    with pytest.raises(ValueError, match="allow_pickle"):
        pack({"x": np.array([{"code": 1}], dtype=object)})


def bomb(kind):
    buffer = io.BytesIO()
    if kind == "compressed":
        np.savez_compressed(buffer, x=np.zeros(10**7))
    else:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x.npy", header.getvalue() + b"\0" * 16)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["compressed", "shape"])
def test_a_bomb_with_the_right_hash_is_refused_before_memory_is_taken(store, kind):
    import tracemalloc

    key, data = key_of(identity()), bomb(kind)
    store.keep_file(key, identity(), data, 1.0)
    tracemalloc.start()
    with pytest.raises(DamagedBlock, match=r"stored as they are|is not its 16 bytes"):
        store.get(key)
    assert tracemalloc.get_traced_memory()[1] < 10 * len(data) + 10**6
    tracemalloc.stop()


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_clear_message_and_loses_nothing(store, monkeypatch):
    kept = put(store)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UsageError, match="disk is full"):
            put(store, 1)
    assert store.has(kept) and not store.has(key_of(identity(1))) and not care.verify(store)["unknown"]


@pytest.mark.parametrize("key", ["../../precious", "ab", "AB" * 32, "ab" * 31 + "/x", "ab" * 32 + "\n"])
def test_a_key_that_could_be_a_path_is_refused(store, key):
    with pytest.raises(ValueError, match="no block key"):
        store.path(key)


def test_a_foreign_catalogue_with_paths_as_keys_deletes_nothing_outside(tmp_path):
    precious = tmp_path / "precious.npz"
    precious.write_bytes(b"precious")
    store = Store(tmp_path / "results")
    row = {"key": "../../precious", "simulation": "x", "identity": json.dumps(identity()), "sha256": "", "bytes": 8}
    store.catalogue.put("blocks", row | {"seconds": 1.0, "created": 1.0, "roots": "[]", "ran": "{}"})
    assert care.verify(store)["damaged"]
    care.collect(store, 0, dry_run=False)
    store.close()
    care.repair(tmp_path / "results")
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: p.write_text("a file"), "not a folder"),
        (lambda p: p.symlink_to("/proc/1/no-such-place"), "cannot use the results folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, make, message):
    make(tmp_path / "results")
    with pytest.raises(UsageError, match=message):
        Store(tmp_path / "results")


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


def test_a_folder_that_is_deleted_or_replaced_during_a_run_is_an_error(tmp_path):
    for replace in (False, True):
        place = tmp_path / f"results{replace}"
        store = Store(place)
        run = store.begin_run({"targets": ["p"]})
        put(store)
        shutil.rmtree(place)
        if replace:
            Store(place).close()
        for write in (lambda s=store: put(s, 1), lambda s=store, r=run: s.end_run(r, 0)):
            with pytest.raises(UsageError, match="deleted or replaced"):
                write()
        store.close()


def test_an_unmounted_blocks_folder_is_said_and_nothing_is_forgotten(store, tmp_path):
    place, key = tmp_path / "results", put(store)
    store.close()
    (place / "blocks").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not mounted"):
        Store(place)
    reader = Store(place, write=False)
    record = care.verify(reader)
    assert any("not mounted" in line for line in record["catalogue"]) and len(record["damaged"]) == 1
    reader.close()
    (tmp_path / "elsewhere").rename(place / "blocks")
    again = Store(place)
    assert (again.get(key)["x"] == np.arange(3.0)).all()
    again.close()


def test_verify_changes_no_byte_whatever_it_finds(store, tmp_path):
    keys = [put(store, n) for n in range(4)]
    store.path(keys[0]).write_bytes(b"damaged")
    store.path(keys[1]).unlink()
    store.close()
    before = everything(tmp_path / "results")
    reader = Store(tmp_path / "results", write=False)
    record = care.verify(reader)
    with pytest.raises(DamagedBlock):
        reader.get(keys[0])
    reader.close()
    assert record["intact"] == 2 and len(record["damaged"]) == 2 and everything(tmp_path / "results") == before


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_a_read_only_folder_can_be_read(store, tmp_path, monkeypatch):
    key = put(store)
    store.begin_run({"targets": ["p"]})
    store.close()
    place = tmp_path / "results"
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    reader = Store(place, write=False)
    assert (reader.get(key)["x"] == np.arange(3.0)).all() and reader.runs()[0]["state"] == "interrupted"
    assert not care.verify(reader)["damaged"]
    reader.close()
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


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


def test_every_flipped_byte_that_changes_something_is_noticed(store, tmp_path):
    """512 flips over the whole catalogue: each is noticed, or leaves every row and every table as it was."""
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
    for position in np.random.default_rng(0).choice(len(whole), 512, replace=False):
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
    assert noticed > 100
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


def test_a_whole_block_that_a_kill_left_without_a_row_is_taken_up(store):
    key = key_of(identity())
    store.path(key).parent.mkdir()
    store.path(key).write_bytes(pack_block(identity(), ["toy"], {"x": np.arange(3.0)}))
    assert not store.has(key) and care.adopt(store, key) and store.has(key)
    assert not care.adopt(store, "ab" * 32)
    wrong = key_of(identity(1))
    store.path(wrong).parent.mkdir(exist_ok=True)
    shutil.copy(store.path(key), store.path(wrong))
    assert not care.adopt(store, wrong)  # it says it is another block


def test_a_label_that_does_not_fit_its_arrays_is_no_label():
    data = pack_block(identity(), [], {"x": np.arange(3.0)})
    assert read_label(data)["identity"] == identity()
    for harmed in (
        data.replace(np.float64(2.0).tobytes(), np.float64(3.0).tobytes()),
        data[:-30],
        b"",
        pack({"x": np.ones(2)}),
    ):
        with pytest.raises(DamagedBlock):
            read_label(harmed)


def test_gc_removes_nothing_under_a_living_run_and_nothing_young(store, tmp_path, monkeypatch):
    key = put(store, roots=("attnlab.papers.lab.errors",))  # its code is "c", which is not the code now
    lock = RunLock(store.folder, 1)
    with pytest.raises(UsageError, match="a run is going on"):
        care.collect(store, 0, dry_run=False)
    with pytest.raises(UsageError, match="a run is going on"):
        care.repair(store.folder)
    lock.close()
    assert care.collect(store, 7, dry_run=False)["stale"] == []
    assert care.collect(store, 0, dry_run=True)["stale"] == [key] and store.has(key)
    assert care.collect(store, 0, dry_run=False)["stale"] == [key] and not store.has(key)
    assert not store.path(key).exists()


def test_gc_keeps_code_it_cannot_judge_whole_blocks_without_rows_and_what_is_not_ours(store):
    kept = put(store, roots=("no_such_module_here",))
    note = store.folder / "blocks" / "README"
    note.write_text("mine")
    loose = key_of(identity(5))
    store.path(loose).parent.mkdir(exist_ok=True)
    store.path(loose).write_bytes(pack_block(identity(5), [], {"x": np.arange(3.0)}))
    torn = key_of(identity(6))
    store.path(torn).parent.mkdir(exist_ok=True)
    store.path(torn).write_bytes(b"half a block")
    record = care.collect(store, 0, dry_run=False)
    assert record["stale"] == [] and record["orphans"] == [str(store.path(torn))]
    assert store.has(kept) and note.exists() and store.path(loose).exists() and not store.path(torn).exists()


def test_what_dead_writers_left_is_swept_and_what_the_living_write_is_not(store):
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    blocks = store.folder / "blocks"
    from attnlab.analysis import writing

    dead = blocks / f".x.npz.{writing._HOST}.{child.pid}.0.tmp"
    mine = blocks / f".x.npz.{writing._HOST}.{os.getpid()}.0.tmp"
    far, old = blocks / ".x.npz.elsewhere.1.0.tmp", blocks / ".y.npz.elsewhere.1.0.tmp"
    for path in (dead, mine, far, old):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert set(leftovers(store.folder)) == {dead, old}
    store.begin_run({})  # a run sweeps before it begins
    assert sorted(blocks.glob(".*")) == sorted([mine, far]) and sweep(store.folder) == 0


def test_threads_share_a_store(store):
    def work(i):
        for j in range(5):
            assert (store.get(put(store, 10 * i + j))["x"][0] == 10 * i + j).all()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(store.rows()) == 30 and not care.verify(store)["catalogue"]


def test_runs_have_a_state_and_a_finished_command_finishes_its_dead_runs(tmp_path):
    first, second, other = (Store(tmp_path / "results") for _ in range(3))
    one = first.begin_run({"targets": ["p"]})
    assert first.runs()[0]["state"] == "running"
    first.close()  # as a kill does: the lock is free, the run did not end
    two = other.begin_run({"targets": ["q"]})
    three = second.begin_run({"targets": ["p"]})
    assert [(row["id"], row["state"]) for row in second.runs()] == [
        (three, "running"),
        (two, "running"),
        (one, "interrupted"),
    ]
    assert second.run()["id"] == one  # what lives is not resumed
    second.end_run(three, 0)
    assert second.run() is None and second.run(one)["note"] == f"finished by run {three}"
    assert second.run(two)["state"] == "running"
    other.close()
    second.close()


def test_another_folder_is_taken_in_without_its_damage(tmp_path):
    ours, theirs = Store(tmp_path / "ours"), Store(tmp_path / "theirs")
    shared, new, bad = put(ours), put(theirs, 1), put(theirs, 2)
    put(theirs)
    record = {"id": "p.c", "scale": "desk", "setting": {}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    theirs.put_verdict(theirs.begin_run({"targets": ["p"]}), record)
    theirs.path(bad).write_bytes(b"bad")
    theirs.close()
    before = everything(tmp_path / "theirs")
    said = care.merge(ours, tmp_path / "theirs")
    assert (said["blocks"], said["verdicts"], said["runs"], len(said["damaged"])) == (1, 1, 1, 1)
    assert ours.has(shared) and ours.has(new) and not ours.has(bad) and not care.verify(ours)["catalogue"]
    assert care.merge(ours, tmp_path / "theirs")["blocks"] == 0
    assert everything(tmp_path / "theirs") == before
    with pytest.raises(UsageError, match="itself"):
        care.merge(ours, tmp_path / "ours")
    with pytest.raises(UsageError, match="no results"):
        care.merge(ours, tmp_path / "nowhere")
    ours.close()


def test_results_are_exported_as_csv_and_parquet(store, tmp_path):
    from attnlab.papers.lab.run.export import export

    put(store, 3)
    record = {"id": "p.c", "scale": "desk", "setting": {"dim": 3}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    store.put_verdict(store.begin_run({"targets": ["p"]}), record | {"interval": [1.0, 2.0]})
    assert export(store, tmp_path / "v.csv", None) == 1
    header, row = (line.split(",") for line in (tmp_path / "v.csv").read_text().splitlines()[:2])
    assert dict(zip(header, row, strict=False))["low"] == "1.0" and row[0] == "p.c"
    assert export(store, tmp_path / "r.csv", "toy.walk") == 3
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
        assert export(store, tmp_path / "r.parquet", "toy.walk") == 3
        assert duckdb.read_parquet(str(tmp_path / "r.parquet")).fetchall()[0][-1] == 3.0
