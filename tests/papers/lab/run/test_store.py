"""The results folder under faults: what is written is kept, what is damaged is noticed, what is foreign is refused."""

import io
import json
import os
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run import care
from attnlab.papers.lab.run.blocks import DamagedBlock, key_of, pack, pack_block, read_label, unpack
from attnlab.papers.lab.run.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from stored import identity, put


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


def test_of_two_that_resume_a_run_one_is_refused_and_changes_nothing(tmp_path):
    first, second = Store(tmp_path / "results"), Store(tmp_path / "results")
    run = first.begin_run({"targets": ["p"]})
    before = first.runs()
    with pytest.raises(UsageError, match=f"run {run} is going on in another process"):
        second.begin_run({"targets": ["q"]}, run)
    second.close()
    assert first.runs() == before and before[0]["state"] == "running"
    first.close()


def test_an_earlier_verdict_counts_only_for_the_setting_seed_and_replicas_that_it_was_judged_at(store):
    record = {"id": "p.c", "scale": "desk", "setting": {"dim": 3}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    store.put_verdict(store.begin_run({"targets": ["p"]}), record)
    assert store.verdict_of("p.c", "desk", {"dim": 3}, 0, None)["verdict"] == "HOLDS"
    for setting, seed, replicas in (({"dim": 7}, 0, None), ({"dim": 3}, 1, None), ({"dim": 3}, 0, 8)):
        assert store.verdict_of("p.c", "desk", setting, seed, replicas) is None
