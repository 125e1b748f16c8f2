"""A worker process leaves Ctrl-C to the driver from its first moment on, and inherits nothing of that."""

import os
import signal
import subprocess
import sys
import time

import pytest

from attnlab.papers.lab.run.spawned import SpawnContext, ignore_ctrl_c

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")


def _life(pipe):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ignore_ctrl_c()
    time.sleep(0.2)
    pipe.send((signal.SIGINT in before, signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())))


def test_ctrl_c_while_a_worker_starts_ends_and_prints_nothing(capfd):
    context = SpawnContext()
    pipe, theirs = context.Pipe()
    process = context.Process(target=_life, args=(theirs,), daemon=True)
    process.start()
    for _ in range(5):  # from before the interpreter knows the signal to the middle of its imports
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.03)
    assert pipe.poll(60) and pipe.recv() == (True, False)
    process.join(60)
    assert process.exitcode == 0 and capfd.readouterr().err == ""
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # nor has the driver lost the signal


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="finds workers in Linux's /proc")
@pytest.mark.parametrize("delay", [0.1, 0.3])
def test_ctrl_c_at_a_terminal_while_workers_start_is_one_sentence(start, delay):
    """A terminal sends the signal to the driver and to its workers."""
    process = start("reproduce", "toy2026", "pause=2.0", "--scale", "smoke", "--workers", 2, start_new_session=True)
    deadline = time.monotonic() + 60
    while not _workers_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    said = ("`attnlab resume` goes on", "no run was begun")  # the first worker starts before the run is recorded
    assert process.returncode == 130 and err.rstrip().endswith(said) and "Traceback" not in err, err


def _workers_of(pid):
    """The worker processes of a driver, as the system lists them."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [child for child in file.read().split() if _is_worker(child)]
    return found


def _is_worker(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"spawn_main" in file.read()
    except OSError:
        return False


PROGRAM = """
import sys
from attnlab.simulators.ensemble.trainings import all_simulations
assert len(all_simulations()) > 250
print([name for name in ("triton", "sympy", "matplotlib") if name in sys.modules])
"""


def test_no_simulator_loads_triton_sympy_or_matplotlib():
    assert subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout == "[]\n"


DRIVER = """
import sys
from attnlab.papers.lab.run import plan
from attnlab.papers.lab.registry import select
select(["gatv2_dynamic_attention"])
print([name for name in ("triton", "sympy", "matplotlib") if name in sys.modules])
"""


def test_a_run_that_draws_nothing_loads_no_matplotlib():
    assert subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, text=True, check=True).stdout == "[]\n"
