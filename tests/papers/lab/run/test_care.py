"""Looking after a results folder: verify changes nothing, garbage goes and nothing else, another folder is taken in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attnlab.analysis.writing import alive, leftovers, sweep
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run import care
from attnlab.papers.lab.run.blocks import DamagedBlock, key_of, pack_block
from attnlab.papers.lab.run.live import RunLock
from attnlab.papers.lab.run.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from stored import everything, identity, put


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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes have no state to be read on this system")
def test_a_process_that_has_ended_is_dead_though_nobody_has_asked_for_its_status():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert alive(child.pid) and alive(os.getpid())
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    os.kill(child.pid, 0)
    assert not alive(child.pid)
    child.wait()
    assert not alive(child.pid)


def test_a_checkpoint_that_another_driver_is_writing_stays_when_its_block_is_finished_here(store):
    from attnlab.analysis import writing

    key = "ab" * 32
    path = store.checkpoint_path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, dead, other = (
        path.parent / f".{name}.{writing._HOST}.{pid}.0.tmp"
        for name, pid in ((path.name, os.getpid()), (path.name, gone.pid), ("cd" * 32 + path.suffix, gone.pid))
    )
    for each in (path, mine, dead, other):
        each.write_bytes(b"half")
    store.drop_checkpoint(key)
    assert mine.exists() and other.exists() and not path.exists() and not dead.exists()


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


def test_folders_under_the_names_of_temporary_files_stop_no_run_and_no_gc(store):
    from attnlab.analysis import writing

    key = put(store, 3)
    strange = [
        store.folder / f".x.{writing._HOST}.999999.0.tmp",
        store.folder / "locks" / "run-77",
        store.checkpoint_path(key),
    ]
    for path in strange:
        path.mkdir(parents=True)
    run = store.begin_run({"targets": ["p"]})
    store.drop_checkpoint(key)
    store.end_run(run, 0)
    store._lock.close()
    care.collect(store, 0.0, dry_run=False)
    assert all(path.is_dir() for path in strange)
