"""``python -m tests.campaign.sweep``: thousands of blocks on a local Dask cluster whose workers are killed every few seconds.

The same blocks run on local processes first; then on Dask undisturbed, for the ratio of throughputs; then on Dask with kills.
Blocks sleep for most of their time, so that the ratio tells what Dask adds and not how many cores are free.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.campaign import bench_paper
from tests.campaign.harness import blocks


def main() -> int:
    """Run the three sweeps and print a row of the table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds that a block sleeps")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attnlab-sweep-") as folder:
        return sweeps(Path(folder), options)


def sweeps(folder: Path, options: argparse.Namespace) -> int:
    """Local, Dask, Dask with kills; exit status 1 if a block is lost or has other bits."""
    home = bench_paper.write(folder / "code")
    sys.path.insert(0, str(home))
    os.environ |= {"PYTHONPATH": str(home), "OMP_NUM_THREADS": "1"}
    from attnlab.papers.lab.run.cluster import Cluster
    from attnlab.papers.lab.run.display import Display

    display = Display(quiet=True)
    local = compute(folder / "local", options, display, None)
    address, processes = start(folder, options.workers)
    kills: list[int] = []
    try:
        calm = compute(folder / "calm", options, display, Cluster(address, display))
        ended = threading.Event()
        killer = threading.Thread(target=kill, args=(address, options.every, ended, kills), daemon=True)
        killer.start()
        stormy = compute(folder / "stormy", options, display, Cluster(address, display))
        ended.set()
        killer.join(10)
    finally:
        for process in processes:
            process.terminate()
    wrong = sum(blocks(folder / name) != blocks(folder / "local") for name in ("calm", "stormy"))
    n = options.blocks
    print("| sweep | blocks | seconds | throughput as a ratio to local processes | bits |")
    print("|---|---|---|---|---|")
    print(f"| {options.workers} local processes | {n} | {local:.1f} | 1 | reference |")
    print(
        f"| {options.workers} Dask workers | {n} | {calm:.1f} | {local / calm:.2f} | {'equal' if not wrong else 'DIFFER'} |"
    )
    print(
        f"| {options.workers} Dask workers, {len(kills)} of them killed, one every {options.every:g} s | {n} | {stormy:.1f} | "
        f"{local / stormy:.2f} | {'equal' if not wrong else 'DIFFER'} |"
    )
    return 1 if wrong else 0


def compute(place: Path, options: argparse.Namespace, display: Any, cluster: Any) -> float:
    """Seconds from the first block to the last; workers are started and warm before."""
    import campaign_simulator as simulator

    from attnlab.papers.lab.run.store import Store
    from attnlab.papers.lab.run.workbench import Workbench

    store = Store(place)
    bench = Workbench(store, display, workers=options.workers, cluster=cluster)
    setting = simulator.Setting(n_steps=1, pause=options.pause)
    try:
        warm = [
            bench.block(simulator.walk, simulator.Setting(n_steps=1, drift=9.0), k) for k in range(4 * options.workers)
        ]
        for future in warm:
            future.result(300)
        began = time.monotonic()
        for future in [bench.block(simulator.walk, setting, k) for k in range(options.blocks)]:
            future.result(1200)
        return time.monotonic() - began
    finally:
        bench.close()
        store.close()


def start(folder: Path, workers: int) -> tuple[str, list[subprocess.Popen]]:
    """A scheduler and workers that are started again when they die."""
    from attnlab.papers.lab.run.address import unreachable

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"

    def launch(*words: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.DEVNULL, cwd=folder)

    head = launch("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    while unreachable(address) is not None:
        time.sleep(0.2)
    hands = launch(
        "distributed.cli.dask_worker", address, "--nworkers", str(workers), "--nthreads", "1", "--no-dashboard"
    )
    return address, [head, hands]


def kill(address: str, every: float, ended: threading.Event, killed: list[int]) -> None:
    """Kill a worker that is there, again and again."""
    from distributed import Client

    dice = random.Random(0)
    client = Client(address, set_as_default=False)
    while not ended.wait(every):
        try:
            known = [pid for pid in client.run(os.getpid, on_error="ignore").values() if isinstance(pid, int)]
            victim = dice.choice(known)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
        except (OSError, IndexError, TimeoutError):
            continue
    client.close(timeout=2)


if __name__ == "__main__":
    raise SystemExit(main())
