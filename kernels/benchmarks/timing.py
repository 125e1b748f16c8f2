"""Timing side by side: paired, alternating, medians and ratios; and what the machine can do at best in the same run.

Every candidate of a comparison runs once a round, in an order drawn anew for each round (the same draws in every run), so that
a busy machine slows all of them alike and none always finds the caches that a certain other one left. Ratios are formed
within a round.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from attnlab.kernels.compiled import compiler


def paired(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each candidate in each round; one call of each comes first and is not counted.

    On one thread these are seconds of processor time, which a busy machine does not stretch; else of the wall clock.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for run in candidates.values():
        run()
    seconds = {name: np.empty(rounds) for name in candidates}
    names, shuffled = list(candidates), np.random.default_rng(0)
    for i in range(rounds):
        for name in (names[j] for j in shuffled.permutation(len(names))):
            start = clock()
            candidates[name]()
            seconds[name][i] = clock() - start
    return seconds


def compare(
    candidates: dict[str, Callable[[], object]],
    base: str,
    rounds: int,
    dense_flops: float,
    peak_gflops: float,
    **sizes: object,
) -> list[dict[str, object]]:
    """One record a candidate: best and median time, and speed against ``base``: median and quartiles of the rounds."""
    seconds = paired(candidates, rounds)
    records = []
    for name, t in seconds.items():
        low, middle, high = (float(x) for x in np.quantile(seconds[base] / t, (0.25, 0.5, 0.75)))
        rate = dense_flops / float(t.min()) / 1e9
        records.append(
            {
                **sizes,
                "candidate": name,
                "best_ms": 1e3 * float(t.min()),
                "median_ms": 1e3 * float(np.median(t)),
                "speed_against_base": middle,
                "speed_low": low,
                "speed_high": high,
                "dense_gflops": rate,
                "share_of_sgemm": rate / peak_gflops,
            }
        )
    return records


def machine() -> dict[str, object]:
    """What the timings were made on, and what it can do at best."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        name = next((value.strip() for key, value in fields.items() if key.strip() == "model name"), name)
    except OSError:
        pass
    report = compiler.compiler_report()
    return {
        "cpu": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "compiler": report["version"],
        "sgemm_gflops": sgemm_peak(),
        "copy_gb_per_s": copy_bandwidth(),
        "exp_giga_per_s": exp_rate(),
    }


def sgemm_peak(n: int = 1024, rounds: int = 7) -> float:
    """Best rate of a square float32 product in GFLOP/s, on torch's threads."""
    a = torch.ones(n, n)
    return 2 * n**3 / float(paired({"sgemm": lambda: a @ a}, rounds)["sgemm"].min()) / 1e9


def copy_bandwidth(megabytes: int = 256, rounds: int = 5) -> float:
    """Best rate of a copy in GB/s, bytes read and written."""
    a, b = torch.ones(megabytes << 18), torch.empty(megabytes << 18)
    return 2 * a.numel() * 4 / float(paired({"copy": lambda: b.copy_(a)}, rounds)["copy"].min()) / 1e9


def exp_rate(thousands: int = 16, repeats: int = 50, rounds: int = 7) -> float:
    """Best rate of float32 exponentials of torch on numbers in cache, in 1e9 a second."""
    a, b = torch.zeros(thousands << 10), torch.empty(thousands << 10)

    def run() -> None:
        for _ in range(repeats):
            torch.exp(a, out=b)

    return repeats * a.numel() / float(paired({"exp": run}, rounds)["exp"].min()) / 1e9


def markdown(records: list[dict[str, object]]) -> str:
    """Records as a table, in the order of their fields, with columns of even width."""
    cells = [list(records[0])] + [[f"{x:.3g}" if isinstance(x, float) else str(x) for x in r.values()] for r in records]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
