"""What ``reproduce`` returns answers an unknown name in a sentence, and says of a figure that failed why."""

import numpy as np
import pytest

from attnlab.papers.lab.python.results import ClaimResult, FigureResult, Figures, Results


def claim(name):
    return ClaimResult({"id": name, "seed": 0, "verdict": "HOLDS"})


@pytest.fixture
def figure(tmp_path):
    (tmp_path / "a.csv").write_text("x,risk\n1,2\n3,4\n")
    return FigureResult("walks.fig1", (tmp_path / "a.csv",) * 4, "A walk.", "smoke")


def test_figures_are_found_by_id_or_name_and_others_are_refused_with_what_is_there(figure):
    figures = Figures({"walks.fig1": figure, "walks.fig4": figure, "runs.fig4": figure}, {"walks.fig2": "no picture"})
    assert figures["walks.fig1"] is figures["fig1"] is figure and len(figures) == 3 and "fig1" in figures
    assert list(figures) == ["walks.fig1", "walks.fig4", "runs.fig4"] and "fig2" not in figures
    for name, said in {
        "fgi1": r"no figure 'fgi1'; did you mean 'fig1'\?; there are fig1, fig4",
        "walk.fig1": r"no figure 'walk.fig1'; did you mean 'walks.fig1'\?; there are walks.fig1, walks.fig4, runs.fig4",
        "fig4": r"2 figures are called 'fig4'; use one of walks.fig4, runs.fig4",
        "fig2": r"figure 'fig2' failed: no picture",
        "walks.fig2": r"figure 'walks.fig2' failed: no picture",
    }.items():
        with pytest.raises(KeyError, match=said):
            figures[name]
    with pytest.raises(KeyError, match=r"no figure 'fig1'; there is none"):
        Figures({})["fig1"]


def test_claims_and_columns_are_refused_with_what_is_there(figure):
    results = Results((claim("walks.drift"), claim("walks.still")), Figures({}), ())
    with pytest.raises(KeyError, match=r"no claim 'drfit'; did you mean 'drift'\?; there are drift, still"):
        results["drfit"]
    with pytest.raises(
        KeyError, match=r"no column in the data of walks.fig1 'rsik'; did you mean 'risk'\?; there are x, risk"
    ):
        figure.data()["rsik"]
    assert np.array_equal(figure.data()["risk"], [2, 4])


def test_the_summary_of_results_says_why_a_figure_failed():
    run = {"id": 1, "out": "here", "seed": 0, "core_seconds": 1.0, "error_budget": 0.01}
    text = repr(Results((), Figures({}, {"walks.fig2": "no picture"}), (run,)))
    assert "FAILED     walks.fig2  no picture" in text
