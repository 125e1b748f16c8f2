"""``attnlab check``: what it finds in a paper, each on a paper that has exactly this fault."""

import pytest

from attnlab.papers.lab.commands.check import calls_without_twin

GOOD = '''
from dataclasses import dataclass

import numpy as np

from attnlab.analysis import agrees
from attnlab.papers.lab.declare import Paper, Source
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    shift: float = 0.0
    n_replicas: int = 8


@simulation(name="KEY.walk")
def walk(setting: Setting, seeds, device):
    return {"end": setting.shift + np.array([np.random.default_rng(seed).normal() for seed in seeds])}


paper = Paper(key="KEY", title="T", sources=[Source(authors="A", title="B", year=2026)], statements={1: "Zero."})
paper.scales(smoke=Setting(), desk=Setting(), paper=Setting())


@paper.claim("zero", source="Theorem 1", statements=[1], formula="E x = 0")
def zero(setting, lab):
    """The mean is zero."""
    return agrees(lab.simulate(walk, setting)["end"], 0, within=4, twin=20)
'''
FAULTS = {
    "uncovered": ('{1: "Zero."}', '{1: "Zero.", 2: "One."}', "statement 2 has neither a claim nor a reason"),
    "without_formula": (', formula="E x = 0"', "", "has no formula"),
    "without_twin": (", twin=20)", ", **dict(twin=20)) if False else agrees([0.0] * 8, 0, within=4)", "without a twin"),
    "refuted": ("shift: float = 0.0", "shift: float = 50.0", "REFUTED where HOLDS is expected"),
}


@pytest.fixture
def check(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(name, text, *options):
        (tmp_path / f"{name}.py").write_text(text.replace("KEY", name))
        return cli("check", f"./{name}.py", "--workers", 1, "--json", *options)

    return run


@pytest.mark.slow
def test_a_good_paper_passes(check):
    status, found, err = check("checked_good", GOOD, "--mutants", "0")  # its theory is the number 0
    assert status == 0 and found["problems"] == [] and found["claims"][0]["verdict"] == "HOLDS", err


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(check, fault):
    old, new, words = FAULTS[fault]
    assert old in GOOD
    options = ("--mutants", "0") if fault == "refuted" else ("--no-runs",)
    status, found, _ = check(f"checked_{fault}", GOOD.replace(old, new), *options)
    assert status == 1 and [words in problem["found"] for problem in found["problems"]] == [True]


@pytest.mark.slow
def test_a_claim_of_which_no_theory_can_be_broken_is_found(check):
    status, found, _ = check("checked_unbroken", GOOD, "--mutants", "5")
    told = [problem["found"] for problem in found["problems"]]
    assert status == 1 and len(told) == 1 and told[0].startswith("no wrong theory could be tried"), told
    assert check("checked_unbroken", GOOD, "--mutants", "0")[0] == 0


@pytest.mark.slow
def test_a_claim_that_raises_for_want_of_a_twin_is_found_and_no_traceback(check):
    text = GOOD.replace(", twin=20)", ")")
    status, found, err = check("checked_raises", text)
    told = " ".join(problem["found"] for problem in found["problems"])
    assert (
        status == 1 and "without a twin" in told and "FAILED where HOLDS is expected" in told and "Traceback" not in err
    )


@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_is_found(check):
    bad = '\n\n@paper.figure("fig1", caption="None.")\ndef fig1(setting, lab):\n    raise RuntimeError("no picture")\n'
    status, found, _ = check("checked_figure", GOOD + bad, "--mutants", "0")
    (problem,) = found["problems"]
    assert status == 1 and problem["id"] == "checked_figure.fig1" and "RuntimeError: no picture" in problem["found"]


def test_a_file_without_a_paper_is_an_error_of_use(check):
    assert check("checked_empty", "x = 1\n")[0] == 2


def test_a_call_without_a_twin_is_seen():
    assert calls_without_twin("agrees(x, 1, within=0.1)\nagrees(x, 1, within=0.1, twin=2)") == [1]
