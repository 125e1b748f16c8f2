"""Simulations: functions ``(setting, seeds, device) -> arrays`` with one replica per seed, and how they run as scripts.

A simulation sees its setting through a view that holds only the fields it declares, so that the fields which enter a
result's identity are the ones that can change it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import textwrap
import time
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from attnlab.kernels.suggestions import did_you_mean
from attnlab.simulators.ensemble.monitor import Monitor, use
from attnlab.simulators.ensemble.setting import field_types, overridden, with_named_fields

DEVICES = (("cpu",), ("cpu", "cuda"))  # what a simulation may declare

Arrays = dict[str, np.ndarray]
Function = Callable[[Any, Sequence[np.random.SeedSequence], str], Arrays]


def simulation(
    *,
    name: str,
    block: int = 8,
    reads: Sequence[str] = (),
    code_of: Callable[[Any], Sequence[str]] | None = None,
    devices: Sequence[str] = ("cpu",),
) -> Callable[[Function], Simulation]:
    """Declare a simulation.

    ``name``: ``subject.function``, unique and never changed: it seeds the replicas, so it outlives every move of the file.
    ``block``: how many replicas always run together (a property of the simulation, part of its results' identity).
    ``reads``: the setting fields that the function reads; all but ``n_replicas`` if left empty. The first parameter of
    the function is annotated with its ``Setting`` class.
    ``code_of``: for a simulation that looks something up by name (an operator, a task): ``setting -> module names`` whose
    code enters the identity of a result beside what the simulation's own module imports.
    ``devices``: where it computes, ``("cpu",)`` or ``("cpu", "cuda")``; one that makes its tensors without looking at
    ``device`` runs on the CPU whatever is asked for, and its results say so.
    """
    if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", name):
        raise ValueError(
            f"name={name!r} is not of the form subject.function; write the name out, it seeds the replicas"
        )
    if not (isinstance(block, int) and block >= 1):
        raise ValueError(f"block={block!r} is not a whole number of at least 1")

    if tuple(devices) not in DEVICES:
        raise ValueError(f"devices={devices!r} is unknown; use {' or '.join(map(repr, DEVICES))}")

    def declare(function: Function) -> Simulation:
        setting_type = next(iter(typing.get_type_hints(function).values()), None)
        if not isinstance(setting_type, type) or not hasattr(setting_type, "__dataclass_fields__"):
            raise ValueError(
                f"{name}: annotate the first parameter of {function.__name__} with the dataclass of its settings, "
                f"def {function.__name__}(setting: Setting, seeds, device)"
            )
        fields = list(field_types(with_named_fields(setting_type)))
        if "n_replicas" not in fields:
            raise ValueError(f"{setting_type.__name__} has no field n_replicas; every setting needs one")
        for field in reads:
            if field not in fields:
                raise ValueError(
                    f"reads={field!r} is not a field of {setting_type.__name__}{did_you_mean(field, fields)}"
                )
        declared = tuple(reads) or tuple(field for field in fields if field != "n_replicas")
        return Simulation(function, setting_type, block, declared, function.__module__, name, code_of, tuple(devices))

    return declare


@dataclass(frozen=True)
class Simulation:
    """A declared simulation; calling it runs the replicas of the given seeds and checks what comes back."""

    function: Function
    setting_type: type
    block: int
    reads: tuple[str, ...]
    module: str
    name: str
    code_of: Callable[[Any], Sequence[str]] | None = None
    devices: tuple[str, ...] = ("cpu",)

    def runs_on(self, device: str) -> str:
        """The device that a run computes on when ``device`` is asked for: that one if it is declared, else the CPU."""
        return device if device.partition(":")[0] in self.devices else "cpu"

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.function.__doc__

    def __call__(self, setting: Any, seeds: Sequence[np.random.SeedSequence], device: str = "cpu") -> Arrays:
        """Run one replica per seed.

        Returns arrays by name, each with a leading replica axis ``len(seeds)``.

        Errors: ``TypeError`` for a setting of another class, ``ValueError`` for no seeds, a device that is not declared, or
        returned arrays without the replica axis.
        """
        if not isinstance(setting, self.setting_type):
            raise TypeError(
                f"{self.name} takes a {self.setting_type.__module__}.{self.setting_type.__name__}, got {setting!r}"
            )
        if len(seeds) == 0:
            raise ValueError(f"{self.name}: seeds is empty; give one numpy SeedSequence per replica")
        if self.runs_on(device) != device:
            raise ValueError(f"{self.name} runs on {', '.join(self.devices)} only, not on {device!r}; use device='cpu'")
        arrays = self.function(View(setting, self.reads, self.name), seeds, device)
        if not isinstance(arrays, dict) or not arrays:
            raise ValueError(f"{self.name} returned {type(arrays).__name__}; return a dict with at least one array")
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype == object or array.shape[:1] != (len(seeds),):
                found = f"shape {array.shape}, type {array.dtype}" if isinstance(array, np.ndarray) else repr(array)
                raise ValueError(
                    f"{self.name} returned {name!r} with {found}; "
                    f"return a numeric array whose first axis is the {len(seeds)} replicas"
                )
        return arrays


class View:
    """A setting restricted to the fields a simulation declares; properties of the setting see the view, too."""

    __slots__: ClassVar[tuple[str, ...]] = ("_name", "_reads", "_setting")

    def __init__(self, setting: Any, reads: tuple[str, ...], name: str) -> None:
        self._setting, self._reads, self._name = setting, reads, name

    def __getattr__(self, name: str) -> Any:
        member = getattr(type(self._setting), name, None)
        if isinstance(member, property):
            return member.fget(self)
        if name in self._reads:
            return getattr(self._setting, name)
        if name in field_types(type(self._setting)):
            raise AttributeError(
                f"{self._name} reads {name!r} without declaring it; add it to @simulation(reads=(..., {name!r}))"
            )
        raise AttributeError(f"{type(self._setting).__name__} has no field {name!r}{did_you_mean(name, self._reads)}")

    def __repr__(self) -> str:
        return f"View of {self._setting!r}"


def simulations_of(package: str) -> dict[str, Simulation]:
    """The simulations of a subject by name: those that the modules of its folder define."""
    home = importlib.import_module(package)
    found = {}
    for module in sorted(
        module.name for module in pkgutil.iter_modules(home.__path__) if not module.name.startswith("__")
    ):
        members = vars(importlib.import_module(f"{package}.{module}"))
        found |= {
            each.name: each
            for each in members.values()
            if isinstance(each, Simulation) and each.module == f"{package}.{module}"
        }
    return found


def main_of(package: str, arguments: Sequence[str] | None = None) -> int:
    """Run a simulation of a subject from the command line: ``[SIMULATION] [KEY=VALUE ...] [seed=N] [device=cpu]``.

    A simulation is named in full (``in_context_regression.train``) or by its function; where the subject's own ``train`` is
    unique it is the default. Settings start from the defaults of their class. Prints a table of what was measured. Returns the
    exit status: 0, or 2 for an argument that cannot be used.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        simulations = simulations_of(package)
        run = _chosen(package.rpartition(".")[2], simulations, [word for word in arguments if "=" not in word])
        overrides = dict(word.split("=", 1) for word in arguments if "=" in word)
        seed, device = overrides.pop("seed", "0"), overrides.pop("device", "cpu")
        if not seed.isdecimal():
            raise ValueError(f"seed={seed!r} is not a whole number of at least 0")
        setting = overridden(run.setting_type(), overrides)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if run.runs_on(device) != device:
        print(f"{run.name} runs on the CPU: it declares no {device}", file=sys.stderr)
        device = run.runs_on(device)
    seeds = [np.random.SeedSequence(int(seed), spawn_key=(replica,)) for replica in range(setting.n_replicas)]
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)  # as in the lab's workers: same bits, and faster for small models
    try:
        with use(_Lines()):
            arrays = run(setting, seeds, device)
    finally:
        torch.set_num_threads(threads)
    print(
        f"{run.name}  {setting}\n{table(arrays)}\n{len(seeds)} replicas, seed {seed}, {time.perf_counter() - start:.1f} s"
    )
    return 0


def _chosen(subject: str, simulations: dict[str, Simulation], words: Sequence[str]) -> Simulation:
    """The simulation that the words name, or the subject's default: its ``train``, or its only one."""
    wanted = words[0] if words else f"{subject}.train"
    known = [*simulations, *(each.function.__name__ for each in simulations.values())]
    named = [each for name, each in simulations.items() if wanted in (name, each.function.__name__)]
    if not words and not named:
        named = list(simulations.values())
    if len(words) > 1 or len(named) != 1:
        what = f"{' '.join(words)!r} does not name one simulation{did_you_mean(wanted, known)}" if words else "name one"
        raise ValueError(f"{what}; write [{' | '.join(simulations)}] [KEY=VALUE ...] [seed=N] [device=cpu]")
    return named[0]


def table(arrays: Arrays) -> str:
    """A text table of arrays: mean, standard deviation, least and largest over replicas, one line per entry.

    Arrays along ``steps`` are shown at their last record. Of arrays with more than 8 entries per replica only the means
    are shown, of those with more than 40 the shapes. Standard errors (``..._se``) are left out.
    """
    lines = [f"{'':34s}{'mean':>12s}{'sd':>12s}{'min':>12s}{'max':>12s}"]
    n_steps = arrays["steps"].shape[1] if "steps" in arrays and arrays["steps"].ndim == 2 else -1
    named = []
    for name, array in arrays.items():
        last = array[:, -1] if array.ndim > 1 and array.shape[1] == n_steps else array
        entries = last.reshape(len(last), -1)
        if name.endswith("_se"):
            continue
        if entries.shape[1] > 40:
            named.append(f"{name} {array.shape}")
        elif entries.shape[1] > 8:
            means = " ".join(f"{x:.5g}" for x in entries.astype(np.float64).mean(0))
            lines += textwrap.wrap(f"{name:34s} means {means}", 120, subsequent_indent=" " * 12)
        if entries.shape[1] > 8:
            continue
        for index, column in enumerate(entries.T.astype(np.float64)):
            label = name if entries.shape[1] == 1 else f"{name}[{index}]"
            spread = column.std(ddof=1) if len(column) > 1 else np.nan
            lines.append(
                f"{label:34s}" + "".join(f"{x:12.5g}" for x in (column.mean(), spread, column.min(), column.max()))
            )
    return "\n".join([*lines, *([f"also {', '.join(named)}"] if named else [])])


class _Lines(Monitor):
    """A line on stderr every few seconds."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()

    def progress(self, step: int, n_steps: int, loss: float | None = None) -> None:
        now = time.perf_counter()
        if now - self.last > 5:
            self.last = now
            left = (now - self.start) / max(step, 1) * (n_steps - step)
            shown = "" if loss is None else f", loss {loss:.5g}"
            print(f"step {step} of {n_steps}{shown}, about {left:.0f} s left", file=sys.stderr)
