"""The paper that the campaign runs: six cheap blocks with checkpoints, three claims, one figure; written into a folder."""

from __future__ import annotations

from pathlib import Path

SIMULATOR = '''
"""A random walk per replica, in steps that are checkpointed."""
import time
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble import monitor
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    n_steps: int = 4
    drift: float = 0.5
    pause: float = 0.0
    n_replicas: int = 8


@simulation(name="campaign.walk", block=4)
def walk(setting: Setting, seeds, device):
    """Sum of n_steps normal increments with a drift."""
    rngs, state, begin = [np.random.default_rng(seed) for seed in seeds], np.zeros(len(seeds)), 0
    saved = monitor.current().restore()
    if saved is not None:
        begin, state = int(saved["step"]), saved["state"]
        for rng in rngs:
            rng.normal(size=begin)
    for step in range(begin, setting.n_steps):
        state = state + setting.drift + np.array([rng.normal() for rng in rngs])
        time.sleep(setting.pause)
        if step % 2:
            monitor.current().save({"step": np.array(step + 1), "state": state})
        monitor.current().progress(step + 1, setting.n_steps, float(state[0]))
    return {"end": state}
'''

PAPER = '''
"""Walks."""
from dataclasses import replace

import numpy as np
from campaign_simulator import Setting, walk

from attnlab.analysis import agrees, figures
from attnlab.papers.lab.declare import Paper, Source

paper = Paper(key="campaign2026", title="Walks", sources=[Source(authors="A. Toy", title="Walks", year=2026)],
              statements={1: "It drifts."})
paper.scales(smoke=Setting(), desk=Setting(), paper=Setting())


def judged(setting, lab, drift):
    runs = lab.simulate(walk, replace(setting, drift=drift))
    return agrees(runs["end"] / setting.n_steps, drift, within=4.0, twin=drift + 60.0)


@paper.claim("slow", source="1", statements=[1])
def slow(setting, lab):
    """It drifts slowly."""
    return judged(setting, lab, 0.5)


@paper.claim("fast", source="1", statements=[1])
def fast(setting, lab):
    """It drifts fast."""
    return judged(setting, lab, 30.0)


@paper.claim("back", source="1", statements=[1])
def back(setting, lab):
    """It drifts back."""
    return judged(setting, lab, -30.0)


@paper.figure("fig1", caption="The drift.")
def fig1(setting, lab):
    ends = lab.simulate(walk, setting)["end"]
    plate = figures.Plate(1, 1)
    figures.prediction(plate[0], np.arange(3.0), np.arange(3.0) * ends.mean(), "drift")
    plate[0].labels(x="step t", y="place x")
    return plate
'''


def write(folder: Path) -> Path:
    """Write simulator and paper; returns the folder that ``sys.path`` needs."""
    home = folder / "papers" / "campaign2026"
    home.mkdir(parents=True, exist_ok=True)
    (folder / "campaign_simulator.py").write_text(SIMULATOR, encoding="utf-8")
    (home / "__init__.py").write_text('"""Walks."""\n', encoding="utf-8")
    (home / "paper.py").write_text(PAPER, encoding="utf-8")
    return folder
