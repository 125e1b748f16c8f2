"""Dask: the same bits, killed workers, other versions, schedulers that are not there or go away."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.address import check_address, unreachable


@pytest.mark.parametrize(
    "address, message",
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("scheduler:8786", "reads tcp://HOST:PORT"),
        ("http://scheduler:8786", "reads tcp://HOST:PORT"),
        ("tcp://scheduler", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1:port", "[Pp]ort"),
        ("tcp://no-such-host.invalid:8786", "."),
        ("", "reads tcp://HOST:PORT"),
    ],
)
def test_an_address_that_cannot_work_is_said_at_once(address, message, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(UsageError, match=message):
        check_address(address)


def test_a_missing_extra_is_said_at_once(monkeypatch, cli):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: find(name, *a) if name != "distributed" else None)
    status, out, err = cli("reproduce", "toy", "--on", "tcp://127.0.0.1:8786")
    assert status == 2 and out == "" and "attnlab[cluster]" in err and err.count("\n") == 1


def test_a_port_that_listens_is_reachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert unreachable(f"tcp://127.0.0.1:{server.getsockname()[1]}") is None


@pytest.fixture
def scheduler(toy, tmp_path):
    """A scheduler and workers as processes of their own: ``start(n)`` gives (address, scheduler process, worker processes)."""
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    processes = []

    def launch(*words):
        environment = os.environ | {"PYTHONPATH": str(toy), "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen([sys.executable, "-m", *words], env=environment, stderr=subprocess.DEVNULL, cwd=tmp_path)
        )
        return processes[-1]

    def start(n):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        head = launch("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        address = f"tcp://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while unreachable(address) is not None and time.monotonic() < deadline:
            time.sleep(0.2)
        workers = [
            launch("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard") for _ in range(n)
        ]
        return address, head, workers

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits_and_a_block_that_kills_workers_fails_alone(scheduler, cli, tmp_path):
    address, _, _ = scheduler(2)
    status, there, err = cli("reproduce", "toy.drift", "fails2026", "--json", "--on", address, out=tmp_path / "there")
    assert status == 3, err
    words = {claim["id"].split(".")[1]: claim for claim in there["claims"]}
    assert words["dies"]["verdict"] == "FAILED" and "every worker that ran it died" in words["dies"]["reason"]
    assert words["breaks"]["verdict"] == "FAILED" and "the walk is broken" in words["breaks"]["reason"]
    assert words["fine"]["verdict"] == words["drift"]["verdict"] == "HOLDS"
    _, here, _ = cli("reproduce", "toy.drift", "fails2026", "--json", "--workers", 2, out=tmp_path / "here")
    theirs = next(claim for claim in there["claims"] if claim["id"].endswith(".drift"))
    ours = next(claim for claim in here["claims"] if claim["id"] == theirs["id"])
    assert {k: v for k, v in theirs.items() if k != "seconds"} == {k: v for k, v in ours.items() if k != "seconds"}


@pytest.mark.slow
def test_a_scheduler_that_is_killed_ends_the_run_with_one_message(scheduler, start, tmp_path):
    address, head, _ = scheduler(1)
    process = start("reproduce", "toy.drift", "pause=1.0", "--on", address)
    threading.Timer(15.0, lambda: os.kill(head.pid, signal.SIGKILL)).start()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "is lost" in err and "attnlab resume --on" in err, err


@pytest.mark.slow
def test_workers_of_another_version_are_named(scheduler, cli, monkeypatch):
    from attnlab.papers.lab.run import cluster

    address, _, _ = scheduler(1)
    true = cluster.platform
    monkeypatch.setattr(cluster, "platform", lambda device: true(device) | {"numpy": "1.0"})
    status, _, err = cli("reproduce", "toy.drift", "--on", address)
    assert status == 2 and "numpy" in err and "1.0 here" in err and err.strip().count("\n") <= 1
