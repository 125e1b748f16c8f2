"""The judges err as often as they say, see what they should, and the committed table says so."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from attnlab.analysis.calibration.ledger_rates import KINDS, Cell, betting_misses, mean_ends, median_ends
from attnlab.analysis.calibration.table import as_csv, as_markdown, main
from attnlab.analysis.calibration.trials import REPLICAS, Row, measure, normal_power, trials
from attnlab.analysis.judges.located import locate
from attnlab.analysis.statistics.intervals import skew_guard

TABLE = Path(__file__).parents[3] / "docs" / "measured" / "judges_calibration.csv"
EXACT = [trial for trial in trials() if trial.exact]
RUNS = 200


def names(some):
    return [f"{trial.judge} on {trial.data}" for trial in some]


def most_errors_by_chance(runs, rate):
    """The count that a judge of exactly this error rate exceeds with probability below 1e-6."""
    return int(stats.binom.isf(1e-6, runs, rate))


def table():
    types = {"int": int, "float": float, "str": str, "bool": lambda text: text == "True"}
    kinds = {field.name: types[field.type] for field in dataclasses.fields(Row)}
    with TABLE.open(encoding="utf-8") as file:
        return [Row(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("trial", EXACT, ids=names(EXACT))
def test_a_judge_is_not_wrong_more_often_than_it_says(trial):
    # at confidence 0.9 each of the two errors may reach 5 %: 10 of 200 on average, 28 once in a million
    row = measure(trial, 8, runs=RUNS, seed=7, confidence=0.9, power_runs=1)
    allowed = most_errors_by_chance(RUNS, 0.05)
    assert row.wrongly_refuted * RUNS <= allowed
    assert row.wrongly_holds * RUNS <= allowed


def test_a_judge_that_overstates_its_confidence_is_caught():
    honest = EXACT[0]
    boastful = dataclasses.replace(
        honest, verdict=lambda data, beyond, side, _: honest.verdict(data, beyond, side, 0.05)
    )
    row = measure(boastful, 8, runs=RUNS, seed=7, confidence=0.9, power_runs=1)
    assert row.wrongly_refuted * RUNS > most_errors_by_chance(RUNS, 0.05)  # above 40 % on each side
    assert row.too_often


def test_the_power_is_the_one_of_the_non_central_t():
    row = measure(EXACT[0], 8, runs=RUNS, seed=7)
    for beyond, seen in ((1, row.sees_1), (2, row.sees_2), (3, row.sees_3)):
        power = normal_power(8, beyond)
        low, high = (stats.binom.ppf(q, RUNS, power) for q in (1e-6, 1 - 1e-6))
        assert low <= seen * RUNS <= high
    assert normal_power(8, 1) < 0.5 < normal_power(8, 4)


@pytest.mark.parametrize(("n", "beyond", "confidence"), [(8, 1.0, 0.99), (16, 1.0, 0.9995), (32, 0.4, 0.99)])
def test_the_power_of_a_mean_is_the_tail_of_scipys_non_central_t(n, beyond, confidence):
    quantile = skew_guard(n, confidence) * stats.t.ppf((1 + confidence) / 2, n - 1)
    expected = stats.nct.sf(quantile, n - 1, beyond * np.sqrt(n))
    assert normal_power(n, beyond, confidence) == pytest.approx(expected, rel=1e-6)


def test_a_claim_without_offset_is_refuted_at_less_than_half_the_error():
    expected = stats.t.sf(skew_guard(8, 0.99) * stats.t.ppf(0.995, 7), 7)
    assert normal_power(8, 0.0) == pytest.approx(expected, rel=1e-6) and expected < 5e-3


def test_the_same_seed_measures_the_same_row():
    trial = EXACT[0]
    assert measure(trial, 8, runs=20, seed=3) == measure(trial, 8, runs=20, seed=3)
    fractions = {measure(trial, 8, runs=20, seed=seed, confidence=0.5).wrongly_refuted for seed in range(6)}
    assert len(fractions) > 1


def test_the_committed_table_has_a_row_for_every_trial():
    assert [(row.judge, row.data, row.n) for row in table()] == [
        (t.judge, t.data, n) for t in trials() for n in REPLICAS
    ]
    assert min(row.runs for row in table()) >= 1000


def test_in_the_committed_table_no_exact_judge_errs_too_often():
    exact = {(trial.judge, trial.data) for trial in EXACT}
    rows = [row for row in table() if (row.judge, row.data) in exact]
    for row in rows:
        assert not row.too_often
        worst = round(max(row.wrongly_refuted, row.wrongly_holds) * row.runs)
        assert special.bdtrc(worst - 1, row.runs, row.stated) > 1e-6 if worst else True


def cells():
    types = {"int": int, "float": float, "str": str}
    kinds = {field.name: types[field.type] for field in dataclasses.fields(Cell)}
    with TABLE.with_name("judges_calibration_ledger.csv").open(encoding="utf-8") as file:
        return [Cell(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def test_at_the_ledgers_confidences_no_judge_errs_more_than_twice_as_often_as_stated_on_laws_of_one_mode():
    rows = [cell for cell in cells() if cell.judge != "mean, plain t"]
    assert min(cell.runs for cell in rows) >= 100_000
    assert {(cell.n, cell.looks) for cell in rows if cell.judge == "mean"} == {
        (n, k) for n in (8, 16, 32) for k in (1, 2)
    }
    assert not [cell for cell in rows if cell.beyond and cell.law != "10 % stuck"]
    assert not [cell for cell in rows if cell.beyond and cell.judge != "mean"]


def test_students_interval_is_caught_erring_on_skewed_replicas():
    found = {(c.law, c.n): c.ratio for c in cells() if (c.judge, c.error, c.looks) == ("mean, plain t", 5e-4, 1)}
    assert found["exponential", 8] > 30 and found["lognormal 1", 8] > 80 and found["10 % stuck", 8] > 500
    assert found["normal", 8] < 2


@pytest.mark.parametrize("n", [8, 16, 32])
@pytest.mark.parametrize("law", KINDS, ids=lambda law: law.name)
def test_the_arrays_of_the_table_are_the_intervals_of_the_judges(law, n):
    x, error = law.draw(np.random.default_rng(n), (40, n)), 2.5e-4
    for of, ends, at_least in (("mean over replicas", mean_ends, 2), ("median over replicas", median_ends, 13)):
        low, high = ends(x, error)
        for k, row in enumerate(x):
            if n >= at_least and np.ptp(row) > 0:
                assert locate(row, of, error).interval == pytest.approx((low[k], high[k]), rel=1e-9, abs=1e-9)
    if law.bounds:
        missed = betting_misses(x, law.mean, error)
        for k, row in enumerate(x):
            low, high = locate(row, "mean over replicas", error, law.bounds).interval
            assert low <= law.mean <= high or missed[k]


def test_the_sentence_on_unseen_modes_is_true_of_stuck_replicas():
    x = next(law for law in KINDS if law.name == "10 % stuck").draw(np.random.default_rng(0), (4000, 8))
    low, high = mean_ends(x, 5e-4)
    lost = (low > 0.5) | (high < 0.5)
    assert np.mean((x[lost] < 2.5).all(1)) > 0.6  # what deceives a mean is above all what was not drawn
    unseen = 1 - 5e-4 ** (1 / 8)
    assert 0.1 < unseen and abs(np.mean((x < 2.5).all(1)) - 0.9**8) < 0.04


def test_the_committed_page_is_made_from_the_committed_numbers():
    rows = table()
    assert as_csv(rows) == TABLE.read_text(encoding="utf-8")
    assert as_csv(cells()) == TABLE.with_name("judges_calibration_ledger.csv").read_text(encoding="utf-8")
    assert as_markdown(rows, cells(), 0) == TABLE.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_committed_row_is_measured_again_to_the_digit():
    trial = next(trial for trial in trials() if trial.judge == "ordered, Welch")
    row = next(row for row in table() if (row.judge, row.data) == (trial.judge, trial.data))
    again = measure(trial, row.n, runs=row.runs, seed=0, power_runs=row.runs // 5)
    assert again == row


def test_the_command_writes_both_files(tmp_path, monkeypatch):
    monkeypatch.setattr("attnlab.analysis.calibration.table.trials", lambda: EXACT[:1])
    main(["--out", str(tmp_path), "--runs", "5", "--sets", "50"])
    assert (tmp_path / "judges_calibration.csv").read_text(encoding="utf-8").count("\n") == 1 + len(REPLICAS)
    assert "| agrees, mean | normal | 8 |" in (tmp_path / "judges_calibration.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["--runs", "0"])
