"""One item that fails costs nobody else a verdict; no error hangs; Ctrl-C ends at any moment."""

import importlib
import signal
import threading
import time

import pytest

from attnlab.papers.lab.errors import ItemError
from attnlab.papers.lab.run import interrupt
from attnlab.papers.lab.run import workers as workers_module
from attnlab.papers.lab.run.catalogue import NAME
from attnlab.papers.lab.run.workers import LocalWorkers, one_ahead


@pytest.mark.slow
def test_one_item_that_fails_is_reported_and_all_others_have_their_verdicts(cli):
    status, result, err = cli("reproduce", "fails2026", "--json", "--workers", 2)
    assert status == 3, err
    claims = {claim["id"].split(".")[1]: claim for claim in result["claims"]}
    assert claims["fine"]["verdict"] == "HOLDS" == claims["few"]["verdict"]
    said = {
        "raises": "AttributeError",
        "refuses": "cannot be evaluated at this setting: n_steps=10 is too few",
        "breaks": "raised RuntimeError: the walk is broken",
        "dies": "SIGKILL",
        "scatters": "every replica of toy.fault diverged",
    }
    for name, text in said.items():
        assert claims[name]["verdict"] == "FAILED" and text in claims[name]["reason"], claims[name]
        assert f"fails2026.{name} failed; the results say why\n" in err and not claims[name]["as_expected"]
        assert " ".join(err.split()).count(claims[name]["reason"]) == 1
    fig1, fig2 = result["figures"]
    assert "no picture" in fig1["failed"] and not fig2["failed"] and len(fig2["files"]) == 4
    assert "FAILED" in cli("reproduce", "fails2026.fig1", "--workers", 1)[1]
    assert cli("list", "--json")[1]  # a failure is no verdict, and hides none
    assert cli("reproduce", "fails2026.fine", "--workers", 1)[0] == 0


@pytest.mark.slow
def test_a_value_that_one_item_refuses_costs_the_others_nothing_and_one_that_all_refuse_begins_nothing(cli, tmp_path):
    status, result, _ = cli("reproduce", "fails2026.fine", "fails2026.few", "n_steps=30", "--json", "--workers", 1)
    assert status == 3, result
    fine, few = result["claims"]
    assert fine["verdict"] == "HOLDS" and few["verdict"] == "FAILED" and "at most 20" in few["reason"]
    status, _, err = cli("reproduce", "fails2026.fine", "fails2026.few", "n_steps=0", out=tmp_path / "none")
    assert status == 2 and "at least 1" in err and not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_folder_in_the_place_of_a_block_is_one_message_and_no_hang(killable_cli, tmp_path):
    command = ("reproduce", "toy.drift", "--scale", "smoke", "--workers", 1)
    assert killable_cli(*command)[0] == 0
    for path in (tmp_path / "results" / "blocks").glob("*/*.npz"):
        path.unlink()
        path.mkdir()
    status, _, err = killable_cli(*command)
    assert status == 2 and err.splitlines()[-1].startswith("attnlab: ") and "Traceback" not in err


@pytest.mark.sampled(4)
@pytest.mark.parametrize("delay", [0.3, 1.5, 3.0, 5.0])
def test_ctrl_c_ends_in_seconds_whenever_it_comes(start, delay):
    process = start("reproduce", "toy2026", "fails2026", "pause=2.0", "--scale", "smoke", "--workers", 2)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    if process.returncode == -signal.SIGABRT:  # a C++ library that was being loaded, before attnlab had begun
        assert delay == 0.3 and "attnlab: " not in err
        return
    assert process.returncode in (130, -signal.SIGINT)  # the latter: before attnlab had begun
    if process.returncode == 130:
        assert err.rstrip().endswith(("`attnlab resume` goes on", "no run was begun")) and "Traceback" not in err


def test_only_a_run_that_was_begun_is_said_to_be_resumable(cli, monkeypatch):
    from attnlab.papers.lab.commands import runs
    from attnlab.papers.lab.run import plan

    def pressed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run", pressed)
    monkeypatch.setattr(plan, "reproduce", pressed)  # once the run is recorded
    for _ in range(2):
        status, _, err = cli("reproduce", "toy.drift", "--scale", "smoke")  # without a compiler it says so first
        assert (status, err.splitlines()[-1]) == (130, interrupt.MESSAGE)
        assert cli("runs")[::2] == (130, "attnlab: interrupted; no run was begun\n")
    said = "attnlab: interrupted; finished blocks are kept, the same command again goes on and checks\n"
    status, _, err = cli("check", "toy2026_walk")  # a run that is resumed judges and checks nothing
    assert status == 130 and err.endswith(said)


def _double(x):
    return 2 * x


def _die_once(path):
    import os

    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def _die(_):
    import os

    os._exit(7)


@pytest.fixture
def workers():
    made = []

    def make(run, n=2):
        said = []
        made.append(LocalWorkers(n, run, lambda *_: None, said.append))
        return made[-1], said

    yield make
    for each in made:
        each.close(now=True)


def test_a_worker_that_began_ahead_sees_where_papers_lie(workers, tmp_path, monkeypatch):
    """It begins before the driver has put a paper's folder on its path; the first run of a user's own paper failed."""
    (tmp_path / "beside2026.py").write_text("def thrice(x):\n    return 3 * x\n")
    with one_ahead():
        monkeypatch.syspath_prepend(tmp_path)
        pool, _ = workers(importlib.import_module("beside2026").thrice, 1)
        assert pool.submit(2, "two").result(60) == 6


def test_workers_compute_and_one_that_dies_is_replaced(workers, tmp_path):
    pool, said = workers(_double)
    assert [pool.submit(k, str(k)).result(60) for k in range(5)] == [0, 2, 4, 6, 8]
    pool, said = workers(_die_once, 1)
    assert pool.submit(str(tmp_path / "mark"), "block").result(60) == "alive"
    assert len(said) == 1 and "SIGKILL" in said[0] and "runs again" in said[0]


def _who(_):
    import os
    import sys

    return os.getpid(), "torch" in sys.modules


def test_a_process_that_was_started_ahead_is_the_first_worker(workers):
    with one_ahead():
        ((process, _),) = tuple(workers_module._ahead)
        pool, _ = workers(_who, 1)
        assert [pool.submit(k, "block").result(60) for k in range(2)] == [(process.pid, True)] * 2
        assert not workers_module._ahead
    assert process.is_alive()  # it is the pool's
    pool.close()
    assert not process.is_alive() and process.exitcode == 0


def test_a_process_that_nobody_took_ends_with_the_block_and_one_that_died_is_replaced(workers):
    with one_ahead():
        ((process, _),) = tuple(workers_module._ahead)
    assert not process.is_alive() and not workers_module._ahead
    with one_ahead():
        ((process, _),) = tuple(workers_module._ahead)
        process.kill()
        pool, _ = workers(_who, 1)
        pid, _ = pool.submit(None, "block").result(60)
        assert pid != process.pid
    with one_ahead(False):
        assert not workers_module._ahead


def test_a_command_starts_a_worker_ahead_where_something_is_to_be_simulated(cli, monkeypatch, tmp_path):
    from attnlab.papers.lab.commands import reproduce
    from attnlab.papers.lab.run import plan

    seen = []

    def carry_out(*arguments, **options):
        seen.append(len(workers_module._ahead))
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "carry_out", carry_out)
    monkeypatch.setattr(reproduce.os, "cpu_count", lambda: 2)
    cli("reproduce", "toy.drift", out=tmp_path / "new")
    monkeypatch.setattr(reproduce.os, "cpu_count", lambda: 1)
    cli("reproduce", "toy.drift", out=tmp_path / "new")
    monkeypatch.setattr(reproduce.os, "cpu_count", lambda: 2)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / NAME).touch()
    cli("reproduce", "toy.drift", out=tmp_path / "old")
    assert seen == [1, 0, 0] and not workers_module._ahead


def test_workers_that_have_nothing_to_do_end_at_once_and_what_they_printed_is_there(workers, capfd):
    pool, _ = workers(_print_late, 1)
    pool.submit(3, "block").result(60)
    (process,) = pool._processes
    pool.close()
    assert process.exitcode == 0 and "kept back" in capfd.readouterr().err


def _print_late(x):
    print("kept back until the end")


def test_a_block_that_kills_its_worker_every_time_fails_with_its_name(workers):
    pool, _ = workers(_die, 1)
    with pytest.raises(ItemError, match=r"deadly: its worker process died 3 times \(exit status 7\)"):
        pool.submit(None, "deadly").result(120)


def test_what_cannot_be_sent_fails_alone(workers):
    pool, _ = workers(_double, 1)
    with pytest.raises(Exception, match="pickle"):
        pool.submit(lambda: None, "function").result(60)
    assert pool.submit(4, "number").result(60) == 8


def test_closing_resolves_every_future(workers):
    pool, _ = workers(time.sleep, 1)
    futures = [pool.submit(60, str(k)) for k in range(3)]
    time.sleep(0.5)
    pool.close(now=True)
    for future in futures:
        assert future.cancelled() or future.exception(20) is not None


def _print(x):
    print("printed by a simulation", flush=True)
    return x


def test_there_are_no_more_threads_than_tasks_and_what_they_print_is_no_answer(workers, capfd):
    pool, _ = workers(_print, 100_000)
    assert pool.submit(3, "block").result(60) == 3 and len(pool._threads) == 1
    out, err = capfd.readouterr()
    assert out == "" and "printed by a simulation" in err


def no_more_threads(monkeypatch, named):
    """Let the system refuse the threads whose target's name is ``named``."""
    start = threading.Thread.start

    def refusing(self):
        if named in getattr(self._target, "__qualname__", ""):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refusing)


@pytest.mark.parametrize("named", ["started.<locals>.work", "LocalWorkers._tend"])
def test_a_thread_that_the_system_refuses_is_one_message(cli, monkeypatch, named):
    no_more_threads(monkeypatch, named)
    status, text, err = cli("reproduce", "toy.drift", "--scale", "smoke", "--workers", 1)
    said = [
        line
        for line in err.splitlines()
        if "cannot start a thread (can't start new thread): close some programs" in line
    ]
    assert said and "Traceback" not in err
    assert (status, "FAILED" in text) in ((2, False), (3, True))


def test_a_run_whose_progress_cannot_be_shown_goes_on(cli, monkeypatch):
    no_more_threads(monkeypatch, "Display._tick")
    assert cli("reproduce", "toy.drift", "--scale", "smoke", "--workers", 1)[0] == 0


def test_memory_that_is_out_is_one_message(cli, monkeypatch):
    from attnlab.papers.lab.commands import runs

    def run(arguments):
        raise MemoryError

    monkeypatch.setattr(runs, "run", run)
    assert cli("runs") == (2, "", "attnlab: out of memory; use fewer --workers: finished blocks are kept\n")
