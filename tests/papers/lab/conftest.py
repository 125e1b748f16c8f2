"""A toy paper with a toy simulator, importable by spawned workers, and a way to run the command line on it."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

SIMULATOR = '''
"""A random walk per replica: cheap, resumable, observable."""
import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble import monitor
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    n_steps: int = 40
    drift: float = 0.5
    pause: float = 0.0
    n_replicas: int = 8
    colour: str = "red"

    def __post_init__(self):
        if self.n_steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {self.n_steps!r}")
        if not np.isfinite(self.drift):
            raise ValueError(f"drift must be finite, got {self.drift!r}")


@simulation(name="toy.walk", block=4, reads=("n_steps", "drift", "pause"))
def walk(setting: Setting, seeds, device):
    """Sum of n_steps normal increments with a drift; a checkpoint after every step."""
    return stepped(setting, seeds)


@simulation(name="toy.fault", block=4, reads=("n_steps", "drift", "pause", "colour"))
def fault(setting: Setting, seeds, device):
    """The same walk, which fails as its colour says."""
    if setting.colour == "broken":
        raise RuntimeError("the walk is broken")
    if setting.colour == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    arrays = stepped(setting, seeds)
    if setting.colour == "scattered":
        arrays["diverged_at"][:] = 7
    return arrays


def stepped(setting, seeds):
    rngs = [np.random.default_rng(seed) for seed in seeds]
    state = np.zeros(len(seeds))
    begin = 0
    saved = monitor.current().restore()
    if saved is not None:
        begin, state = int(saved["step"]), saved["state"]
        for rng in rngs:
            rng.normal(size=begin)
    count = os.environ.get("TOY_COUNT")
    if count:
        with open(count, "a") as file:
            file.write(f"block {begin}\\n")
    for step in range(begin, setting.n_steps):
        state = state + setting.drift + np.array([rng.normal() for rng in rngs])
        time.sleep(setting.pause)
        monitor.current().save({"step": np.array(step + 1), "state": state})
        monitor.current().progress(step + 1, setting.n_steps, float(state[0]))
    diverged = np.full(len(seeds), -1)
    if setting.drift > 1e6:
        diverged[0] = 3
    return {"end": state, "diverged_at": diverged}
'''

PAPER = '''
"""A toy paper."""
from dataclasses import replace

from toy_simulator import Setting, walk

from attnlab.analysis import agrees
from attnlab.papers.lab.declare import Paper, Source

paper = Paper(key="toy2026_walk", title="On walks", sources=[Source(authors="A. Toy", title="On walks", year=2026)],
              statements={1: "The walk drifts.", 2: "The walk stands still.", 3: "The walk is infinite."})
DESK = Setting(pause=0.0)
paper.scales(smoke=replace(DESK, n_steps=10), desk=DESK, paper=replace(DESK, n_steps=400))
paper.not_testable(3, "a run is finite")


@paper.claim("drift", source="Theorem 1", statements=[1], formula="E x = n_steps drift", judged="equivalence")
def drift(setting, lab):
    """The mean end point is n_steps times the drift."""
    runs = lab.simulate(walk, setting)
    return agrees(runs["end"] / setting.n_steps, setting.drift, within=9.0 * setting.n_steps**-0.5, twin=setting.drift + 40.0)


@paper.claim("still", source="Theorem 2", statements=[2], expected="REFUTED")
def still(setting, lab):
    """The mean end point is zero, which is false."""
    runs = lab.simulate(walk, replace(setting, drift=100.0))
    return agrees(runs["end"] / setting.n_steps, 0.0, within=0.5, twin=-100.0)


@paper.claim("close", source="Theorem 4", statements=[1])
def close(setting, lab):
    """The mean end point is near the drift, by a margin that few replicas do not resolve."""
    runs = lab.simulate(walk, replace(setting, drift=200.0, n_replicas=4))
    return agrees(runs["end"] / setting.n_steps, 200.0, within=8.0 / setting.n_steps**0.5, twin=220.0)


@paper.claim("far", source="Theorem 3", statements=[1], scales=("paper",), why_these_scales="needs 400 steps")
def far(setting, lab):
    """The walk gets far."""
    return drift(setting, lab)
'''

FAILING = '''
"""A toy paper most of whose claims fail, each in another way."""
from dataclasses import dataclass, replace

import numpy as np
from toy_simulator import Setting, fault

from attnlab.analysis import agrees, figures
from attnlab.papers.lab.declare import Paper, Scales, Source

paper = Paper(key="fails2026", title="On failing", sources=[Source(authors="A. Toy", title="On failing", year=2026)],
              statements={1: "Something fails."})
paper.scales(smoke=Setting(n_steps=10), desk=Setting(n_steps=10), paper=Setting(n_steps=10))


def judged(lab, setting):
    runs = lab.simulate(fault, setting)
    return agrees(runs["end"] / setting.n_steps, setting.drift, within=3.0, twin=setting.drift + 40.0)


@paper.claim("fine", source="1", statements=[1])
def fine(setting, lab):
    """Nothing is wrong with this one."""
    return judged(lab, setting)


@paper.claim("raises", source="1", statements=[1])
def raises(setting, lab):
    """Its own code is wrong."""
    return judged(lab, setting).nonsense


@paper.claim("refuses", source="1", statements=[1])
def refuses(setting, lab):
    """It cannot be evaluated."""
    raise ValueError("n_steps=10 is too few")


@paper.claim("breaks", source="1", statements=[1])
def breaks(setting, lab):
    """Its simulation raises."""
    return judged(lab, replace(setting, colour="broken"))


@paper.claim("dies", source="1", statements=[1])
def dies(setting, lab):
    """Its worker is killed every time."""
    return judged(lab, replace(setting, colour="deadly"))


@paper.claim("scatters", source="1", statements=[1])
def scatters(setting, lab):
    """Every replica diverges."""
    return judged(lab, replace(setting, colour="scattered"))


@dataclass(frozen=True)
class Few(Setting):
    def __post_init__(self):
        super().__post_init__()
        if self.n_steps > 20:
            raise ValueError(f"n_steps must be at most 20, got {self.n_steps!r}")


@paper.claim("few", source="1", statements=[1], setting=Scales(Few(n_steps=10), Few(n_steps=10), Few(n_steps=10)))
def few(setting, lab):
    """It takes few steps only."""
    return judged(lab, Setting(n_steps=setting.n_steps))


@paper.figure("fig1", caption="Nothing.")
def fig1(setting, lab):
    raise RuntimeError("no picture")


@paper.figure("fig2", caption="The walk.")
def fig2(setting, lab):
    runs = lab.simulate(fault, setting)
    plate = figures.Plate(1, 1)
    figures.prediction(plate[0], np.arange(3.0), np.arange(3.0) * setting.drift, "drift")
    plate[0].labels(x="step t", y="place x")
    return plate
'''

RUNNER = """
import sys
import attnlab.papers
attnlab.papers.__path__.append({folder!r})
from attnlab.papers.lab.commands.cli import main
if __name__ == "__main__":
    raise SystemExit(main())
"""


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The folder with ``toy_simulator.py``, ``papers/toy2026_walk/paper.py`` and ``run.py``."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "papers" / "toy2026_walk").mkdir(parents=True)
    (folder / "papers" / "toy2026_walk" / "__init__.py").write_text('"""A toy paper."""\n')
    (folder / "toy_simulator.py").write_text(textwrap.dedent(SIMULATOR))
    (folder / "papers" / "toy2026_walk" / "__main__.py").write_text(
        "from attnlab.papers.lab.commands.cli import main_of\nraise SystemExit(main_of(__package__))\n"
    )
    (folder / "papers" / "toy2026_walk" / "paper.py").write_text(textwrap.dedent(PAPER))
    (folder / "papers" / "fails2026").mkdir()
    (folder / "papers" / "fails2026" / "__init__.py").write_text('"""A paper that fails."""\n')
    (folder / "papers" / "fails2026" / "paper.py").write_text(textwrap.dedent(FAILING))
    (folder / "run.py").write_text(RUNNER.format(folder=str(folder / "papers")))
    return folder


@pytest.fixture
def start(toy, tmp_path):
    """Start the command line on the toy paper; returns the process."""

    def run(*arguments, out=None, env=None, **more):
        environment = (
            os.environ | {"PYTHONPATH": str(toy), "ATTNLAB_HOME": str(out or tmp_path / "results")} | (env or {})
        )
        return subprocess.Popen(
            [sys.executable, str(toy / "run.py"), *map(str, arguments)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            preexec_fn=_hears_ctrl_c,
            **more,
        )

    return run


def _hears_ctrl_c():
    """A suite that a shell script started in the background ignores the signal, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def killable_cli(start):
    """Run the command line in a process of its own to its end; returns (status, parsed JSON or text, stderr)."""

    def run(*arguments, **more):
        process = start(*arguments, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, json.loads(out) if "--json" in arguments and out else out, err

    return run


@pytest.fixture
def cli(toy, tmp_path, monkeypatch, capfd):
    """Run the command line in this process (workers are spawned); returns (status, parsed JSON or text, stderr)."""
    import attnlab.papers
    from attnlab.papers.lab.commands.cli import main

    monkeypatch.setattr(attnlab.papers, "__path__", [*attnlab.papers.__path__, str(toy / "papers")])
    monkeypatch.syspath_prepend(toy)
    monkeypatch.setenv("PYTHONPATH", str(toy))

    def run(*arguments, out=None):
        monkeypatch.setenv("ATTNLAB_HOME", str(out or tmp_path / "results"))
        capfd.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:
            status = end.code
        text, err = capfd.readouterr()
        return status, json.loads(text) if "--json" in arguments and text else text, err

    return run
