"""The pytest plugin: one test per size and twin, verdict lines, report, and an error share that depends on nothing
else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

PLUGIN = "attnlab.analysis.pytest_plugin"

SUITE = """
from attnlab.analysis import Real, Twin, Vector, bounded, for_all
from attnlab.analysis.pytest_plugin import theorem
import numpy as np

mean = for_all(x=Vector("n", 0, 1)).bound(lambda x, n: x.sum() / n, at_most=1, sizes={"n": (2, 3)}, name="mean",
                                          twin=Twin.of("<0.9>", at_most=0.9), source="Lemma 1")
false = for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.2, name="false")

@theorem(mean, level="searched")
def test_mean(verdict):
    assert verdict.tightness > 0.99

@theorem(mean, level="sampled")
def test_mean_sampled():
    pass

@theorem(false, level="searched")
def test_false():
    raise AssertionError("the body must not run")

@theorem(false, level="searched", expect="REFUTED")
def test_known_false():
    pass

def test_random(suite_error):
    assert suite_error == 0.01 / 1000
"""


def _options():
    known = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    return [] if known else ["-p", PLUGIN]


def _run(pytester, *arguments, suite=SUITE):
    pytester.makepyfile(test_suite=suite)
    return pytester.runpytest_subprocess(*_options(), "-p", "no:cacheprovider", *arguments)


@pytest.mark.slow
def test_a_suite_of_theorems_runs_prints_and_reports(pytester):
    result = _run(pytester, "--strict-markers", "-v", "--claims-report", "out/report.html")
    # mean: 2 sizes x (claim + twin), twice; false once failing, once expected
    result.assert_outcomes(passed=10, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_mean?n2-twin <0.9>?*PASSED*",
            "*expected HOLDS: REFUTED*",
            "*theorems*",
            "HOLDS*mean*searched*tightness 1*n=*starts*",
        ]
    )
    assert "the body must not run" not in result.stdout.str()
    page = (pytester.path / "out" / "report.html").read_text()
    assert "10 of" not in page and "9 of 10 verdicts as expected" in page
    assert "Lemma 1" in page and "&lt;0.9&gt;" in page and "<0.9>" not in page


@pytest.mark.slow
def test_two_processes_give_the_same_verdicts_and_shares(pytester):
    pages = []
    for k, options in enumerate((["-n", "0"], ["-n", "2"])):
        _run(pytester, *options, "--claims-report", f"report{k}.html")
        pages.append((pytester.path / f"report{k}.html").read_text())
    assert pages[0] == pages[1]


def test_more_tests_than_the_error_was_divided_into_are_refused(pytester):
    pytester.makeini("[pytest]\ntheorem_capacity = 3\n")
    result = _run(pytester, "--collect-only", "-q")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*11 tests draw from theorem_error, but theorem_capacity=3*"])


def test_a_misspelt_option_is_an_error(pytester):
    suite = (
        "import pytest\nfrom attnlab.analysis import Real, for_all\n"
        "claim = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1)\n"
        "@pytest.mark.theorem(claim, levle='searched')\ndef test_it(): pass\n"
    )
    result = _run(pytester, "-q", suite=suite)
    result.stdout.fnmatch_lines(["*theorem has no option 'levle'*"])


HEAD = """
import unittest
import pytest
from attnlab.analysis import Real, for_all
from attnlab.analysis.pytest_plugin import theorem
claim = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1)
"""


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("@theorem(claim, level='serched')\ndef test_it(): pass\n", "*level='serched' is not one of sampled*"),
        ("@theorem(claim, expect='refutd')\ndef test_it(): pass\n", "*expect='refutd' is not one of HOLDS*"),
        ("@theorem(claim, budget=20)\ndef test_it(): pass\n", "*budget=20 must be a number of evaluations*"),
        (
            "class TestIt(unittest.TestCase):\n    @theorem(claim)\n    def test_it(self): pass\n",
            "*would not be judged on a method of a unittest.TestCase*",
        ),
        ("@theorem\ndef test_it(): pass\n", "*@theorem needs a claim*"),
    ],
    ids=["level", "expectation", "budget", "unittest", "no claim"],
)
def test_what_would_pass_unjudged_is_an_error_at_collection(pytester, body, words):
    result = _run(pytester, "--collect-only", "-q", suite=HEAD + body)
    assert result.ret != 0
    assert any(
        "".join(words.strip("*").split()) in "".join(line.split()) for line in [str(result.stdout), str(result.stderr)]
    )


def test_without_the_plugin_a_marked_test_is_an_error(pytester):
    pytester.makepyfile(test_suite=HEAD + "@theorem(claim)\ndef test_it(): pass\n")
    off = ["-p", "no:attnlab", "-p", f"no:{PLUGIN}"]
    known = [point.name for point in entry_points(group="pytest11") if point.value == PLUGIN]
    result = pytester.runpytest_subprocess(*off, *(f"-pno:{name}" for name in known), "-p", "no:cacheprovider", "-q")
    assert result.ret != 0 and "needs its plugin" in str(result.stdout) + str(result.stderr)


@pytest.mark.slow
def test_an_expected_refutation_is_checked_against_twins_too(pytester):
    """Words in small letters mean the same; the twin of a refuted claim must be refuted as well."""
    suite = (
        HEAD
        + """
from attnlab.analysis import Twin
false = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=0.5, twin=Twin.of("a true one", at_most=2.0))
@theorem(false, level="searched", expect="refuted")
def test_it(): pass
"""
    )
    result = _run(pytester, "-q", suite=suite)
    result.assert_outcomes(passed=1, failed=1)


def test_the_plugin_imports_only_pytest_at_start_up():
    heavy = "numpy", "torch", "sympy", "flint", "jinja2", "scipy"
    code = f"import sys, {PLUGIN}; print([m for m in {heavy!r} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
