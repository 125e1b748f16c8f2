"""``reproduce`` and its neighbours called from Python: arguments, results, errors, scripts without a main guard."""

import importlib
import logging
import subprocess
import sys

import numpy as np
import pytest

from attnlab.papers.lab import Paper, Results, Source, UsageError, load_paper, papers, reproduce, show


@pytest.fixture
def toy_home(toy, tmp_path, monkeypatch):
    import attnlab.papers

    monkeypatch.setattr(attnlab.papers, "__path__", [*attnlab.papers.__path__, str(toy / "papers")])
    monkeypatch.syspath_prepend(toy)
    monkeypatch.setenv("ATTNLAB_HOME", str(tmp_path / "results"))
    return tmp_path


@pytest.mark.slow
def test_results_hold_verdicts_numbers_runs_and_records_as_arrays(toy_home):
    results = reproduce("toy2026", scale="smoke", workers=1, progress=False)
    assert isinstance(results, Results) and results.status == 0 and results.as_expected
    drift = results["drift"]
    assert drift.id == "toy2026_walk.drift" and drift.holds and drift.outcome == "HOLDS"
    (runs,) = drift.runs
    assert runs.n == 8 and runs["end"].shape == (8,) and runs.setting.n_steps == 10
    assert drift.measured == pytest.approx(runs["end"].mean() / 10)
    assert results["toy2026_walk.still"].outcome == "REFUTED" and results["still"].as_expected
    arrays = results.arrays()
    assert arrays["low"][0] <= arrays["measured"][0] <= arrays["high"][0] and arrays["verdict"][0] in (
        "HOLDS",
        "REFUTED",
    )
    assert arrays["tightness"].dtype == float and np.isnan(arrays["tightness"]).all()
    table = results.to_pandas()
    assert list(table["id"]) == [claim.id for claim in results.claims] and len(results) == len(table)
    assert "HOLDS" in repr(results) and "run 1 in" in repr(results) and "<table" in results._repr_html_()
    with pytest.raises(TypeError, match="no truth value"):
        bool(drift)
    with pytest.raises(KeyError, match="did you mean"):
        results["drfit"]
    with pytest.raises(
        KeyError, match=r"no column of the records 'mesured'; did you mean 'measured'\?; there are id, seed"
    ):
        arrays["mesured"]
    with pytest.raises(
        KeyError, match=r"no entry in the record of toy2026_walk.drift 'verdct'; did you mean 'verdict'"
    ):
        drift.record["verdct"]
    with pytest.raises(KeyError, match=r"returns no 'edn'; did you mean 'end'\?; it returns"):
        runs["edn"]


@pytest.mark.slow
def test_the_arguments_are_those_of_the_command_line(toy_home, cli):
    results = reproduce(
        "toy2026.drift", scale="smoke", overrides={"drift": 2.5}, replicas=4, seed=3, workers=1, progress=False
    )
    _, printed, _ = cli(
        "reproduce",
        "toy2026.drift",
        "drift=2.5",
        "--scale",
        "smoke",
        "--replicas",
        4,
        "--seed",
        3,
        "--json",
        "--workers",
        1,
    )
    without = lambda record: {k: v for k, v in record.items() if k != "seconds"}  # noqa: E731
    assert [without(r) for r in results.records()] == [without(r) for r in printed["claims"]]
    assert printed["run"]["core_seconds"] == 0  # the same blocks


@pytest.mark.slow
def test_several_seeds_are_several_runs_and_are_told_apart(toy_home):
    results = reproduce("toy2026.drift", scale="smoke", seed=[0, 1], workers=1, progress=False)
    first, second = (results.at(seed)["drift"] for seed in (0, 1))
    assert first.measured != second.measured and len(results.runs) == 2 and len(results.records()) == 2
    with pytest.raises(KeyError, match=r"\.at\(seed\)"):
        results["drift"]
    with pytest.raises(UsageError, match="no claims at seed 7"):
        results.at(7)


@pytest.mark.slow
def test_targets_may_be_papers_claims_figures_and_functions(toy_home):
    paper = load_paper("toy2026")
    module = importlib.import_module("attnlab.papers.toy2026_walk.paper")
    for target in (paper.claims["drift"], module.drift, ["toy2026.drift"]):
        assert list(reproduce(target, scale="smoke", workers=1, progress=False)) == ["toy2026_walk.drift"]
    assert len(reproduce(paper, scale="smoke", workers=1, progress=False)) == 3
    with pytest.raises(KeyError, match=r"no paper 'toy2026_wlk'; did you mean 'toy2026_walk'\?; there are "):
        papers()["toy2026_wlk"]
    assert "toy2026_walk" in papers()
    with pytest.raises(UsageError, match="is no target"):
        reproduce(len)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"scale": "smok"}, "did you mean 'smoke'"),
        ({"replicas": 0}, "replicas=0"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": []}, "seed="),
        ({"overrides": {"drfit": 1}}, "did you mean 'drift'"),
        ({"overrides": {"n_steps": "many"}}, "n_steps"),
    ],
)
def test_a_bad_argument_is_named_with_what_was_expected(toy_home, arguments, words):
    with pytest.raises(UsageError, match=words):
        reproduce("toy2026.drift", **({"scale": "smoke", "workers": 1, "progress": False} | arguments))


def test_a_paper_made_here_replaces_itself_and_cannot_take_the_key_of_another():
    source = Source(authors="A", title="B", year=2026)
    with pytest.raises(UsageError, match="another key"):
        reproduce(Paper(key="he2025_icl_regression", title="T", sources=[source], statements={1: "x"}))


def test_show_prints_and_reads_as_a_page(toy_home):
    shown = show("toy2026.drift")
    assert "Theorem 1" in repr(shown) and shown.record["claims"][0]["id"] == "toy2026_walk.drift"
    assert "<pre" in shown._repr_html_()
    paper = load_paper("toy2026")
    assert "not testable here" in paper._repr_html_() and "Theorem 2" in paper.claims["still"]._repr_html_()


@pytest.mark.slow
def test_verdicts_are_logged_under_attnlab(toy_home, caplog):
    with caplog.at_level(logging.INFO, logger="attnlab"):
        reproduce("toy2026.drift", scale="smoke", workers=1, progress=False)
    assert "HOLDS toy2026_walk.drift" in caplog.messages


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(toy, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(toy)!r})\n"
        "import attnlab.papers\n"
        f"attnlab.papers.__path__.append({str(toy / 'papers')!r})\n"
        "print('top', __name__)\n"
        "from attnlab.papers.lab import reproduce\n"
        "print(reproduce('toy2026.drift', scale='smoke', workers=2, progress=False)['drift'].outcome)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["top", "__main__", "HOLDS"]


def test_an_edited_simulator_is_seen_by_the_next_call(tmp_path, monkeypatch):
    """A notebook stays open while files change: the second call must not use the fingerprint of the first."""
    from attnlab.papers.lab.run.fingerprint import code_fingerprint

    (tmp_path / "edited_sim.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_fingerprint("edited_sim")
    (tmp_path / "edited_sim.py").write_text("X = 2\n")
    with pytest.raises(UsageError):
        reproduce("no.such", progress=False)
    assert code_fingerprint("edited_sim") != before


def test_the_public_names_load(toy_home):
    import attnlab.papers.lab as lab

    assert all(getattr(lab, name) is not None for name in lab.__all__) and set(lab.__all__) <= set(dir(lab))
    with pytest.raises(AttributeError, match="no attribute"):
        lab.nothing  # noqa: B018
