import threading

import numpy as np
import pytest

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.store import DamagedBlock, Store, pack, unpack, write_atomically


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    yield store
    store.close()


def identity(name="toy.walk"):
    return {"simulation": name, "fields": {"dim": 3}}


def test_arrays_come_back_bit_for_bit(store):
    arrays = {
        "b": np.random.default_rng(0).normal(size=(3, 4)),
        "a": np.array([-0.0, np.nan, np.inf]),
        "n": np.arange(3),
        "scalar": np.array(7),
        "turned": np.arange(6.0).reshape(2, 3).T,
    }
    store.put("ab" * 32, identity(), arrays, 1.0)
    back = store.get("ab" * 32)
    assert set(back) == set(arrays)
    for name, value in arrays.items():
        assert (
            back[name].shape == value.shape
            and back[name].dtype == value.dtype
            and back[name].tobytes() == value.tobytes()
        )


def test_equal_arrays_give_equal_bytes_whatever_their_order():
    x, y = np.arange(4.0), np.ones((2, 3), np.float32)
    assert pack({"x": x, "y": y}) == pack({"y": y.copy(), "x": x.copy()})
    assert pack({"x": x}) != pack({"x": x + 1})


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "remove"])
def test_a_harmed_file_is_detected_and_forgotten(store, harm):
    store.put("cd" * 32, identity(), {"x": np.arange(100.0)}, 1.0)
    path = store.path("cd" * 32)
    data = bytearray(path.read_bytes())
    if harm == "truncate":
        path.write_bytes(data[:-7])
    elif harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    with pytest.raises(DamagedBlock, match="damaged"):
        store.get("cd" * 32)
    assert not store.has("cd" * 32)
    store.put("cd" * 32, identity(), {"x": np.arange(100.0)}, 1.0)
    assert (store.get("cd" * 32)["x"] == np.arange(100.0)).all()


def test_object_arrays_are_never_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, x=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack(path.read_bytes())


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_clear_message_and_loses_nothing(store, monkeypatch):
    store.put("ab" * 32, identity(), {"x": np.arange(3)}, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UsageError, match="disk is full"):
            store.put("cd" * 32, identity(), {"x": np.arange(3)}, 1.0)
    assert store.has("ab" * 32) and not store.has("cd" * 32) and not store.orphans()


def test_a_catalogue_that_is_not_one_is_named(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "catalogue.sqlite").write_bytes(b"this is not a database, but it is long enough to be read")
    with pytest.raises(UsageError, match="not a database"):
        Store(tmp_path / "results")


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


def test_orphans_are_what_no_row_names(store):
    store.put("ab" * 32, identity(), {"x": np.arange(3)}, 1.0)
    stray = store.path("ab" * 32).with_name("ab123.npz.99.tmp")
    stray.write_bytes(b"half")
    assert store.orphans() == [stray]


def test_threads_share_a_store(store):
    def work(i):
        for j in range(5):
            key = f"{i:02x}{j:02x}" * 16
            store.put(key, identity(), {"x": np.full(3, i)}, 0.1)
            assert (store.get(key)["x"] == i).all()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(store.rows()) == 30


def test_the_newest_verdict_of_a_claim_wins_and_runs_remember_their_end(store):
    record = {"id": "p.c", "scale": "smoke", "setting": {"dim": 3}, "seed": 0, "replicas": None, "verdict": "HOLDS"}
    run = store.begin_run({"targets": ["p"]})
    assert store.run()["id"] == run and store.run()["arguments"] == {"targets": ["p"]}
    store.put_verdict(run, record)
    store.put_verdict(run, record | {"verdict": "REFUTED"})
    assert store.latest_verdicts()["p.c"]["verdict"] == "REFUTED"
    store.end_run(run, 1)
    assert store.run() is None and store.run(run)["status"] == 1
