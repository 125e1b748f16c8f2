r"""How the time and the memory of a block grow with each size of a setting, measured for any simulation.

A size is a field that the simulation reads and that holds a whole number above 1, or a tuple of such; and the number of
replicas in the block. Each is doubled alone, and what doubling does is told as a local exponent,

.. math:: \alpha = \log_2 \frac{T(2n)}{T(n)},

so 1 is linear, 2 quadratic, and an exponent below 1 says that something else costs most at this setting. Time is seconds of
the processor, the least of repeated runs after a first one (which compiles); memory is what the process held at its largest
beyond what it held before. Every run has a process of its own, which ends at a limit.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from attnlab.simulators.ensemble.simulation import Simulation
from attnlab.simulators.ensemble.trainings import all_simulations

#: Seconds: a block that takes longer is made smaller; repeated runs fill so many; a process is stopped after so many.
LONGEST, REPEATED, STOPPED = 1.0, 0.2, 30.0
#: Bytes below which memory is not told apart from what the interpreter and the libraries hold.
SMALL_MEMORY = 4 << 20


def records(
    rounds: int, say: Callable[[str], None] = lambda text: None, names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """One record for each simulation (of those named), see :func:`record`."""
    found = []
    for name, simulation in all_simulations().items():
        if not names or name in names:
            say(name)
            found.append({"simulation": name} | record(simulation, rounds=rounds))
    return found


def record(simulation: Simulation, setting: Any = None, rounds: int = 9) -> dict[str, Any]:
    """Seconds and bytes of a block at a setting, the default one made small enough, and two exponents for each size.

    A time is the least of at most ``rounds`` runs, fewer where they fill ``REPEATED`` seconds.
    ``sizes``: the sizes there; ``time`` and ``memory``: exponents by size, of memory only where it is above ``SMALL_MEMORY``;
    ``refused``: why a size could not be doubled.
    """
    try:
        setting = simulation.setting_type() if setting is None else setting
    except ValueError as error:
        return {"refused": {"setting": f"has no default: {error}"}}
    replicas = simulation.block
    found = _measured(simulation, setting, replicas, rounds)
    while not isinstance(found, str) and found[0] > LONGEST:
        smaller = _halved(simulation, setting)
        if smaller is None and replicas == 1:
            found = "takes too long at its smallest"
            break
        setting, replicas = (setting, replicas // 2) if smaller is None else (smaller, replicas)
        found = _measured(simulation, setting, replicas, rounds)
    if isinstance(found, str):
        return {"replicas": replicas, "refused": {"setting": found}}
    seconds, held = found
    sizes = {"replicas": replicas} | sizes_of(simulation, setting)
    answer: dict[str, Any] = {"replicas": replicas, "seconds": seconds, "bytes": held, "sizes": sizes}
    times, memories, refused = {}, {}, {}
    for name in sizes:
        try:
            more = setting if name == "replicas" else dataclasses.replace(setting, **{name: _times(sizes[name], 2)})
        except ValueError as error:
            refused[name] = str(error)
            continue
        twice = _measured(simulation, more, 2 * replicas if name == "replicas" else replicas, rounds)
        if isinstance(twice, str) or math.isinf(twice[0]):
            refused[name] = twice if isinstance(twice, str) else f"stopped after {STOPPED:.0f} s"
            continue
        times[name] = math.log2(twice[0] / seconds)
        if min(held, twice[1]) > SMALL_MEMORY:
            memories[name] = math.log2(twice[1] / held)
    return answer | {"time": times, "memory": memories, "refused": refused}


def sizes_of(simulation: Simulation, setting: Any) -> dict[str, Any]:
    """The fields that the simulation reads and that are sizes."""
    found = {}
    for name in simulation.reads:
        value = getattr(setting, name)
        several = value if isinstance(value, tuple) and value else (value,)
        if name != "n_replicas" and all(type(x) is int and x > 1 for x in several):
            found[name] = value
    return found


def _times(value: Any, factor: float) -> Any:
    return tuple(int(factor * x) for x in value) if isinstance(value, tuple) else int(factor * value)


def _halved(simulation: Simulation, setting: Any) -> Any:
    """The setting with its largest size that can be halved halved, or None."""
    sizes = sizes_of(simulation, setting)
    largest = {name: max(x) if isinstance(x, tuple) else x for name, x in sizes.items()}
    for name in sorted(largest, key=lambda name: -largest[name]):
        if largest[name] >= 4:
            try:
                return dataclasses.replace(setting, **{name: _times(sizes[name], 0.5)})
            except ValueError:
                continue
    return None


def _measured(simulation: Simulation, setting: Any, replicas: int, rounds: int) -> tuple[float, float] | str:
    """Seconds and bytes of a block, infinity and 0 where it was stopped, or why there are none."""
    forking = multiprocessing.get_context("fork")
    mine, theirs = forking.Pipe(duplex=False)
    child = forking.Process(target=_run, args=(theirs, simulation, setting, replicas, rounds), daemon=True)
    child.start()
    theirs.close()
    try:
        if not mine.poll(STOPPED):
            return math.inf, 0.0
        return mine.recv()
    except EOFError:
        return "its process ended without an answer"
    finally:
        child.kill()
        child.join()
        mine.close()


def _run(answer: Connection, simulation: Simulation, setting: Any, replicas: int, rounds: int) -> None:
    try:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        seeds = [np.random.SeedSequence(0, spawn_key=(replica,)) for replica in range(replicas)]
        simulation(setting, seeds)
        before = _without_garbage()
        took = [_timed(simulation, setting, seeds)]
        held = max(_status("VmHWM") - before, 0)
        while sum(took) < REPEATED and len(took) < rounds:
            took.append(_timed(simulation, setting, seeds))
        answer.send((min(took), float(held)))
    except Exception as error:
        answer.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    finally:
        answer.close()


def _timed(simulation: Simulation, setting: Any, seeds: Sequence[np.random.SeedSequence]) -> float:
    begun = time.process_time()
    simulation(setting, seeds)
    return max(time.process_time() - begun, 1e-6)


def _without_garbage() -> int:
    """Bytes that the process holds, after what the allocator kept is given back and the mark of the largest is set anew."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(f"{name}:"))


def table(found: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """Records as lines to print: a line for each simulation, its sizes with the exponents of time and, in brackets, of memory."""
    lines = []
    for each in found:
        parts = []
        for name, value in each.get("sizes", {}).items():
            shown = value if not isinstance(value, tuple) else "(" + ", ".join(map(str, value)) + ")"
            if name in each["time"]:
                memory = f" [{each['memory'][name]:.1f}]" if name in each["memory"] else ""
                parts.append(f"{name} {shown}: {each['time'][name]:.1f}{memory}")
            else:
                parts.append(f"{name} {shown}: not doubled")
        lines.append(
            {
                "simulation": each["simulation"],
                "seconds": each.get("seconds", math.nan),
                "MB": each.get("bytes", math.nan) / 1e6,
                "sizes: exponent of time [of memory]": "; ".join(parts) or each["refused"]["setting"],
            }
        )
    return lines
