"""Exponents of time and memory: of known laws, of memory that is really taken, and what cannot be doubled."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from attnlab.simulators.ensemble import growth
from attnlab.simulators.ensemble.setting import checked
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainings import all_simulations


@dataclass(frozen=True)
class Setting:
    """Sizes of the simulations below."""

    n: int = 8
    lengths: tuple[int, ...] = (4, 16)
    spread: float = 2.0
    layer: int = 1
    most: int = 20
    n_replicas: int = 4

    def __post_init__(self) -> None:
        checked(self)
        if self.n > self.most:
            raise ValueError(f"n={self.n} is more than {self.most}; use less")


@simulation(name="test_growth.holds", block=4)
def holds(setting: Setting, seeds, device):
    """Takes 8 MB for every n and replica."""
    return {"sum": np.array([np.ones(setting.n << 20).sum() for _ in [seeds]] * len(seeds))}


@simulation(name="test_growth.fails", block=4, reads=("n",))
def fails(setting: Setting, seeds, device):
    """Can be run at 8 only."""
    if setting.n != 8:
        raise RuntimeError("no room\nfor more")
    return {"n": np.full(len(seeds), setting.n)}


@simulation(name="test_growth.hangs", block=2, reads=("n",))
def hangs(setting: Setting, seeds, device):
    """Takes a minute unless n is at most 2."""
    time.sleep(60 if setting.n > 2 else 0)
    return {"n": np.full(len(seeds), setting.n)}


def test_sizes_are_whole_numbers_above_one_that_are_read():
    assert growth.sizes_of(holds, Setting()) == {"n": 8, "lengths": (4, 16), "most": 20}
    assert growth.sizes_of(fails, Setting()) == {"n": 8}
    assert growth.sizes_of(holds, Setting(lengths=(1, 4))) == {"n": 8, "most": 20}


def test_exponents_are_those_of_the_law(monkeypatch):
    """T = replicas n^2 sum(lengths) s and n^3 8 MB, exactly."""

    def measured(simulation, setting, replicas, rounds):
        return 1e-4 * replicas * setting.n**2 * sum(setting.lengths), float(setting.n**3 << 23)

    monkeypatch.setattr(growth, "_measured", measured)
    found = growth.record(holds, Setting())
    assert found["time"] == pytest.approx({"replicas": 1, "n": 2, "lengths": 1, "most": 0}, abs=1e-12)
    assert found["memory"] == pytest.approx({"replicas": 0, "n": 3, "lengths": 0, "most": 0}, abs=1e-12)
    # doubled beyond what the setting allows: said, not raised
    found = growth.record(holds, Setting(most=15))
    assert "more than 15" in found["refused"]["n"] and set(found["time"]) == {"replicas", "lengths", "most"}
    # too long: the largest size that can be is halved, as long as it must be, and the exponents are those there
    found = growth.record(holds, Setting(n=16, lengths=(64, 512)))
    assert (
        found["sizes"] == {"replicas": 4, "n": 8, "lengths": (2, 16), "most": 20}
        and found["seconds"] < 1 < 4 * found["seconds"]
    )
    (line,) = growth.table([{"simulation": "x"} | found])
    assert "replicas 4: 1.0 [0.0]" in line["sizes: exponent of time [of memory]"]


def test_memory_is_what_a_block_takes_and_small_amounts_have_no_exponent():
    found = growth.record(holds, Setting())
    assert found["bytes"] == pytest.approx(8 << 23, rel=0.1)
    assert found["memory"]["n"] == pytest.approx(1, abs=0.1) and found["memory"]["replicas"] == pytest.approx(
        0, abs=0.1
    )
    assert found["seconds"] > 0 and set(found["time"]) == {"replicas", "n", "lengths", "most"}
    few = growth.record(fails, Setting())
    assert few["memory"] == {} and few["refused"] == {"n": "RuntimeError: no room"} and "replicas" in few["time"]


def test_what_takes_too_long_is_stopped_and_made_smaller(monkeypatch):
    monkeypatch.setattr(growth, "STOPPED", 2.0)
    found = growth.record(hangs, Setting())
    assert found["sizes"] == {"replicas": 2, "n": 2} and found["refused"] == {"n": "stopped after 2 s"}


def test_runs_are_repeated_as_often_as_asked_or_until_they_fill_their_time(monkeypatch):
    runs = []
    monkeypatch.setattr(growth, "_timed", lambda *_: runs.append(len(runs)) or [0.03, 0.02, 0.15, 0.01][len(runs) - 1])
    told = []
    line = type("Line", (), {"send": staticmethod(told.append), "close": staticmethod(lambda: None)})
    growth._run(line, fails, Setting(), 2, 2)
    assert told[-1][0] == 0.02 and len(runs) == 2
    runs.clear()
    growth._run(line, fails, Setting(), 2, 9)
    assert told[-1][0] == 0.02 and len(runs) == 3  # 0.2 s


def test_what_is_too_long_at_its_smallest_is_said(monkeypatch):
    monkeypatch.setattr(growth, "_measured", lambda *_: (growth.math.inf, 0.0))
    assert growth.record(hangs, Setting()) == {"replicas": 1, "refused": {"setting": "takes too long at its smallest"}}


def test_every_simulation_is_known_by_its_name():
    names = list(all_simulations())
    assert len(names) > 250 and "memorization.memorise" in names
