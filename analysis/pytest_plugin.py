"""Theorems as tests: ``@theorem(claim, level=...)`` makes one test per size and twin, with one-line verdicts and a
report.

.. code-block:: python

    from attnlab.analysis.pytest_plugin import theorem

    @theorem(quarter, level="certified")
    def test_quarter(verdict):             # the verdict is passed if asked for; the body adds conditions of its own
        assert verdict.tightness > 0.99

The claim's tests pass if it HOLDS at the demanded level (or meets ``expect``), the twins' tests if the same check
refutes the twin, whatever is expected of the claim. What would pass unjudged is an error at collection: a marked method of a
``unittest.TestCase``, a marked test where the plugin is not loaded, an unknown level, expectation or option. All
statistical errors of the suite together stay below ``theorem_error`` (default 0.01): every test id draws the same fixed
part, ``theorem_error / theorem_capacity``, whatever else runs, in whatever order and in however many processes. The
fixture ``suite_error`` gives this part to any other test, for the judges it calls. Start-up imports only pytest.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

_MARKER = (
    "theorem(claim, level=None, budget=100000, seed=0, expect='HOLDS'): judge the claim at every size, and its twins"
)
_LEVELS = (None, "sampled", "searched", "certified", "symbolic")
_OUTCOMES = ("HOLDS", "REFUTED", "UNDECIDED", "VACUOUS", "INVALID")
_DEFAULTS = {"level": None, "budget": 100_000, "seed": 0}
_LEDGERS: dict[int, Any] = {}
_LOADED: list[pytest.Config] = []


def theorem(
    claim: Any, level: str | None = None, budget: int = 100_000, seed: int = 0, expect: str = "HOLDS"
) -> pytest.MarkDecorator:
    """Mark a test function as the test of a claim; ``expect="REFUTED"`` is for a published statement known to be
    false. ``budget`` counts evaluations. Raises ``pytest.UsageError`` without a claim, and inside a pytest run that has
    not loaded the plugin: the mark would be ignored, and the claim pass unjudged."""
    if os.environ.get("PYTEST_VERSION") and not _LOADED:
        raise pytest.UsageError(
            "@theorem needs its plugin, which this pytest run has not loaded: run pytest with -p "
            "attnlab.analysis.pytest_plugin, or add it to pytest_plugins in the top conftest.py"
        )
    if not hasattr(claim, "instances"):  # the function itself: the mark would take its place, and no test be left
        raise pytest.UsageError(f"@theorem needs a claim, @theorem(claim, level=...), got {claim!r}")
    return pytest.mark.theorem(claim, level=level, budget=budget, seed=seed, expect=expect)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and settings of the plugin."""
    parser.getgroup("theorems").addoption("--claims-report", metavar="FILE.html", help="write all verdicts to a page")
    parser.addini("theorem_error", "probability that any verdict of the whole suite errs", default="0.01")
    parser.addini(
        "theorem_capacity", "number of tests that may draw from theorem_error; each draws an equal part", default="1000"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and on the main process the collector of verdicts."""
    config.addinivalue_line("markers", _MARKER)
    _LOADED.append(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Verdicts(config), "attnlab-verdicts")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run is over."""
    if config in _LOADED:
        _LOADED.remove(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per size and twin of the claim."""
    marker = metafunc.definition.get_closest_marker("theorem")
    if marker is None:
        return
    claim = _claim(marker, metafunc.definition.nodeid)
    cases, ids = [], []
    for one in claim.instances():
        size = "-".join(f"{name}{value}" for name, value in one.chosen.items()) or "claim"
        cases += [(one, None), *((one, twin) for twin in one.twins)]
        ids += [size, *(f"{size}-twin {twin.label}" for twin in one.twins)]
    metafunc.fixturenames.append("theorem_case")
    metafunc.parametrize("theorem_case", cases, ids=ids)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a marked test that nothing would judge, and more drawing tests than the error was divided into."""
    for item in items:
        judged = "theorem_case" in getattr(getattr(item, "callspec", None), "params", {})
        if item.get_closest_marker("theorem") is not None and not judged:
            raise pytest.UsageError(
                f"{item.nodeid}: @theorem would not be judged on a method of a unittest.TestCase, or on what is no plain "
                "test function; write it as a function, or as a method of a plain class"
            )
    drawing = sum(
        item.get_closest_marker("theorem") is not None or "suite_error" in getattr(item, "fixturenames", ())
        for item in items
    )
    if drawing > _capacity(config):
        raise pytest.UsageError(
            f"{drawing} tests draw from theorem_error, but theorem_capacity={_capacity(config)}; raise it in the "
            "pytest settings"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Judge the claim or the twin before the body runs; the body of a twin's test does not run."""
    marker = pyfuncitem.get_closest_marker("theorem")
    if marker is None:
        return None
    from attnlab.analysis.theorems.check import check

    case: Any = pyfuncitem.callspec.params["theorem_case"]
    claim, twin = case
    options = {key: marker.kwargs.get(key, default) for key, default in _DEFAULTS.items()}
    with _ledger(pyfuncitem.config).claim(pyfuncitem.nodeid, share=_share(pyfuncitem.config)):
        verdict = check(claim if twin is None else claim.with_twin(twin), **options)
    expected = _expected(marker) if twin is None else "REFUTED"
    record = {
        **verdict.record(),
        "test": pyfuncitem.nodeid,
        "line": verdict.line(),
        "expected": expected,
        "source": claim.source,
        "statement": claim.statement,
        "share": _share(pyfuncitem.config),
    }
    pyfuncitem.user_properties.append(("theorem", json.dumps(record)))
    if verdict.outcome != expected:
        pytest.fail(f"expected {expected}: {verdict.line()}{_witness(record)}", pytrace=False)
    if twin is not None:
        return True
    if "verdict" in pyfuncitem.funcargs:
        pyfuncitem.funcargs["verdict"] = verdict
    return None


@pytest.fixture
def verdict() -> None:
    """The verdict of a theorem's test; only inside tests marked with ``theorem``."""
    return None


@pytest.fixture
def suite_error(request: pytest.FixtureRequest) -> Any:
    """Judges called in the test draw from its fixed part of the suite's error; the part is the fixture's value."""
    share = _share(request.config)
    with _ledger(request.config).claim(request.node.nodeid, share=share):
        yield share


class _Verdicts:
    """Collects verdicts from the reports of all processes, prints them and writes the page."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.records: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for key, value in report.user_properties:
                if key == "theorem":
                    self.records[report.nodeid] = {**json.loads(str(value)), "passed": report.passed}

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.records:
            terminalreporter.section("theorems")
            for test in sorted(self.records):
                terminalreporter.write_line(self.records[test]["line"])

    def pytest_sessionfinish(self) -> None:
        file = self.config.getoption("claims_report", None)
        if file:
            from attnlab.analysis.claims_report import write_report

            write_report(file, [self.records[test] for test in sorted(self.records)])


def _claim(marker: pytest.Mark, test: str) -> Any:
    from attnlab.analysis.theorems.statement.claim import Claim

    if len(marker.args) != 1 or not isinstance(marker.args[0], Claim):
        raise pytest.UsageError(f"{test}: theorem needs one claim, theorem(claim, level=...), got {marker.args!r}")
    unknown = marker.kwargs.keys() - {"level", "budget", "seed", "expect"}
    if unknown:
        raise pytest.UsageError(
            f"{test}: theorem has no option {sorted(unknown)[0]!r}; it has level, budget, seed, expect"
        )
    if marker.kwargs.get("level") not in _LEVELS:
        raise pytest.UsageError(
            f"{test}: level={marker.kwargs['level']!r} is not one of {', '.join(_LEVELS[1:])}, or None for all"
        )
    if _expected(marker) not in _OUTCOMES:
        raise pytest.UsageError(f"{test}: expect={marker.kwargs['expect']!r} is not one of {', '.join(_OUTCOMES)}")
    budget = marker.kwargs.get("budget", _DEFAULTS["budget"])
    if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not budget >= 1000:
        raise pytest.UsageError(
            f"{test}: budget={budget!r} must be a number of evaluations, at least 1000 (not seconds)"
        )
    return marker.args[0]


def _expected(marker: pytest.Mark) -> str:
    return str(marker.kwargs.get("expect", "HOLDS")).upper()


def _capacity(config: pytest.Config) -> int:
    capacity = int(config.getini("theorem_capacity"))
    if capacity < 1:
        raise pytest.UsageError(f"theorem_capacity={capacity} must be at least 1")
    return capacity


def _share(config: pytest.Config) -> float:
    """The fixed part of the suite's error that every test id draws."""
    error = float(config.getini("theorem_error"))
    if not 0 < error < 1:
        raise pytest.UsageError(f"theorem_error={error} must lie in (0, 1)")
    return error / _capacity(config)


def _ledger(config: pytest.Config) -> Any:
    """One ledger a process; the fixed parts keep the sum over all processes within the suite's error."""
    from attnlab.analysis.verdicts.ledger import ErrorLedger

    return _LEDGERS.setdefault(id(config), ErrorLedger(float(config.getini("theorem_error"))))


def _witness(record: dict[str, Any]) -> str:
    return f"\nwitness: {json.dumps(record['witness'])}" if record["witness"] else ""
