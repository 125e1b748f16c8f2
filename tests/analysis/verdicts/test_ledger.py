"""The error ledger hands out exactly what was set aside, in any thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from attnlab.analysis.judges.values import agrees
from attnlab.analysis.verdicts.ledger import ErrorLedger, LedgerError, draw


def test_outside_any_ledger_a_judge_errs_with_one_percent():
    assert draw("agrees") == pytest.approx(0.01)
    assert draw("agrees", confidence=0.9) == pytest.approx(0.1)


def test_each_judge_draws_an_equal_part_of_the_claims_share():
    ledger = ErrorLedger(budget=0.01)
    with ledger.claim("paper.risk", share=0.003, parts=3):
        parts = [draw(name) for name in ("agrees", "ordered", "share")]
    assert parts == [0.001] * 3
    assert ledger.spent == pytest.approx(0.003)
    assert [(row["claim"], row["judge"], row["error"]) for row in ledger.rows()] == [
        ("paper.risk", "agrees", 0.001),
        ("paper.risk", "ordered", 0.001),
        ("paper.risk", "share", 0.001),
    ]


def test_drawing_more_often_than_declared_says_to_declare_parts():
    with ErrorLedger().claim("paper.risk", share=0.001):
        draw("agrees")
        with pytest.raises(LedgerError, match=r"paper\.risk.*agrees asks for 0\.001 more; declare parts=2 or more"):
            draw("agrees")


def test_an_explicit_confidence_comes_out_of_the_same_share():
    ledger = ErrorLedger()
    with ledger.claim("a", share=0.004, parts=2):
        assert draw("agrees", confidence=0.999) == pytest.approx(0.001)
        with pytest.raises(LedgerError, match=r"leave out confidence=0\.99"):
            draw("agrees", confidence=0.99)
        assert draw("agrees") == 0.002
    assert ledger.spent == pytest.approx(0.003)


def test_shares_above_the_budget_are_refused():
    ledger = ErrorLedger(budget=0.01)
    for i in range(10):
        with ledger.claim(f"claim{i}", share=0.001):
            pass
    assert ledger.reserved == pytest.approx(0.01)
    with pytest.raises(LedgerError, match="above budget"), ledger.claim("one more", share=0.001):
        pass


def test_a_claim_is_not_judged_twice_with_the_full_share():
    ledger = ErrorLedger()
    with ledger.claim("a", share=0.001):
        pass
    with pytest.raises(LedgerError, match="needs its own look, look=1"), ledger.claim("a", share=0.001):
        pass


def test_looks_at_growing_data_together_stay_within_the_share():
    ledger = ErrorLedger()
    for look in range(1, 60):
        with ledger.claim("a", share=0.001, parts=2, look=look):
            draw("agrees"), draw("agrees")
    assert 0.98 * 0.001 < ledger.spent < 0.001  # 1 - 1/60 of the share
    assert ledger.reserved == 0.001
    with pytest.raises(LedgerError, match="look=60"), ledger.claim("a", share=0.001, look=3):
        pass
    with pytest.raises(LedgerError, match="keep one share"), ledger.claim("a", share=0.002, look=60):
        pass


def test_the_context_ends_with_the_claim_even_after_an_error():
    with pytest.raises(RuntimeError), ErrorLedger().claim("a", share=1e-4):
        raise RuntimeError
    assert draw("agrees") == pytest.approx(0.01)


def test_threads_have_their_own_claims():
    ledger, barrier = ErrorLedger(budget=0.1), threading.Barrier(8)

    def run(i):
        with ledger.claim(f"claim{i}", share=0.001 * (i + 1), parts=2):
            barrier.wait()  # all claims are open now
            return draw("agrees") + draw("agrees")

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(run, range(8)))
    assert drawn == pytest.approx([0.001 * (i + 1) for i in range(8)])
    assert ledger.spent == pytest.approx(0.036)
    assert [row["claim"] for row in ledger.rows()] == [f"claim{i}" for i in range(8) for _ in range(2)]


def test_a_judge_widens_its_interval_to_its_part():
    values = [1.0, 2.0, 3.0, 2.5, 1.5, 2.2, 1.8, 2.0]
    alone = agrees(values, 2.0, within=5.0, twin=20.0)
    with ErrorLedger().claim("a", share=0.001, parts=2):
        part = agrees(values, 2.0, within=5.0, twin=20.0)
    assert (alone.confidence, part.confidence) == (0.99, pytest.approx(0.9995))
    assert part.interval[0] < alone.interval[0] < alone.interval[1] < part.interval[1]


@pytest.mark.parametrize("budget", [0, 1, -0.1, float("nan"), True])
def test_a_budget_is_a_probability(budget):
    with pytest.raises(ValueError, match="budget must be a probability"):
        ErrorLedger(budget)


def test_parts_and_looks_are_counts():
    ledger = ErrorLedger()
    with pytest.raises(ValueError, match="parts must be a whole number"), ledger.claim("a", 0.001, parts=0):
        pass
    with pytest.raises(ValueError, match="look must be"), ledger.claim("a", 0.001, look=0):
        pass
