"""The four levels on claims whose truth is known, and how they are combined."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.coordinates import Latent
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.lbfgs import minimise
from attnlab.analysis.theorems.engines.search import search
from attnlab.analysis.theorems.statement.claim import ClaimError, exists, for_all
from attnlab.analysis.theorems.statement.domains import (
    Distribution,
    Integer,
    Permutation,
    PositiveDefinite,
    Real,
    Simplex,
    Sphere,
    Vector,
)
from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.analysis.verdicts.verdict import Outcome, Twin


def two_way(x):
    p = x.softmax(-1)[0]
    return 2 * p * (1 - p)


def softmax_distance(x, y):
    return (x.softmax(-1) - y.softmax(-1)).norm()


def lipschitz(constant, dim=16):
    return for_all(x=Vector(dim, -10, 10), y=Vector(dim, -10, 10)).bound(
        softmax_distance,
        at_most=lambda x, y: constant * (x - y).norm(),
        name="softmax_lipschitz",
        twin=Twin.of("constant 0.2", at_most=lambda x, y: 0.2 * (x - y).norm()),
    )


@pytest.mark.slow
def test_a_too_small_lipschitz_constant_is_refuted_with_a_readable_witness():
    verdict = check(lipschitz(0.2), "searched")
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.tightness * 0.2 > 0.49  # the best ratio seen, in the unit of the constant
    x, y = (np.array(verdict.witness["point"][name]) for name in "xy")
    assert np.count_nonzero(x) <= 3 and np.count_nonzero(y) <= 3
    p, q = (np.exp(v - v.max()) / np.exp(v - v.max()).sum() for v in (x, y))
    assert np.linalg.norm(p - q) > 0.2 * np.linalg.norm(x - y)  # the oracle: numpy, by hand


@pytest.mark.slow
def test_the_true_lipschitz_constant_survives_and_is_seen_to_be_sharp():
    verdict = check(lipschitz(0.5), "searched")
    assert verdict.holds and verdict.twin_outcome is Outcome.REFUTED
    assert 0.99 < verdict.tightness <= 1


def test_sampling_alone_misses_the_false_constant_and_says_that_its_check_is_invalid():
    verdict = check(lipschitz(0.5), "sampled")
    assert verdict.outcome is Outcome.INVALID and verdict.parts[0].level == "sampled"


@pytest.mark.slow
def test_two_way_softmax_variance_is_certified_with_a_slack():
    claim = for_all(x=Vector(2, -10, 10)).bound(two_way, at_most=0.5 + 1e-3, twin=Twin.of("0.49", at_most=0.49))
    verdict = check(claim, "certified")
    assert verdict.holds and verdict.level == "certified"
    assert "dimension 2" in verdict.of and "[-10, 10]^2" in verdict.of


@pytest.mark.slow
def test_two_way_softmax_variance_without_slack_is_never_certified_but_proved():
    claim = for_all(x=Vector(2, -10, 10)).bound(two_way, at_most=0.5, twin=Twin.of("0.49", at_most=0.49))
    certified = check(claim, "certified")
    assert certified.outcome is Outcome.UNDECIDED
    assert "the two sides meet" in certified.reason and "level='symbolic'" in certified.reason
    proved = check(claim)
    assert proved.holds and proved.level == "symbolic"
    assert {p.level: p.outcome for p in proved.parts}["certified"] is Outcome.UNDECIDED


@pytest.mark.slow
def test_a_claim_without_room_for_its_twin_is_undecided_or_invalid():
    claim = for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.3, twin=Twin.of("0.28", at_most=0.28))
    assert check(claim, "searched").outcome is Outcome.INVALID


def test_assumptions_that_are_never_met_make_the_claim_vacuous():
    claim = for_all(x=Vector(3, -1, 1)).bound(lambda x: x.sum(), at_most=4, assuming=lambda x: x.sum() >= 3.5)
    verdict = check(claim, "searched")
    assert verdict.outcome is Outcome.VACUOUS and "meets the assumptions" in verdict.reason


@pytest.mark.sampled(4)
@pytest.mark.parametrize("bound", [1e6, math.inf])
def test_a_bound_that_nothing_could_refute_is_vacuous(bound):
    claim = for_all(x=Vector(3, -1, 1)).bound(lambda x: x.sum(), at_most=bound)
    assert check(claim, "searched").outcome is Outcome.VACUOUS


@pytest.mark.slow
def test_equality_on_a_sphere_is_not_refuted_by_rounding():
    """In float64 |x| exceeds 1 by an ulp at many points; the exact points of the sphere do not."""
    assert check(for_all(x=Sphere(5)).bound(lambda x: x.norm(), at_most=1), "searched").holds
    assert (
        check(for_all(x=Sphere(5)).bound(lambda x: x.norm(), at_most=1 - 1e-12), "searched").outcome is Outcome.REFUTED
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("claim", "true"),
    [
        (for_all(A=PositiveDefinite(3, 1, 4), u=Sphere(3)).bound(lambda A, u: u @ A @ u, at_most=4.0), True),
        (for_all(A=PositiveDefinite(3, 1, 4), u=Sphere(3)).bound(lambda A, u: u @ A @ u, at_most=3.99), False),
        (for_all(p=Simplex(4)).bound(lambda p: (p * p).sum(), at_least=0.25), True),
        (for_all(p=Simplex(4)).bound(lambda p: (p * p).sum(), at_least=0.2501), False),
        (for_all(x=Vector(5, 0, 1), pi=Permutation(5)).bound(lambda x, pi: x @ x[pi], at_most=lambda x: x @ x), True),
        (
            for_all(x=Vector(5, 0, 1), pi=Permutation(5)).bound(
                lambda x, pi: x @ x[pi], at_most=lambda x: 0.95 * x @ x
            ),
            False,
        ),
        (for_all(k=Integer(1, 2000)).bound(lambda k: (k % 997) * 1.0, at_most=996), True),
        (for_all(k=Integer(1, 2000)).bound(lambda k: (k % 997) * 1.0, at_most=995), False),
        (for_all(x=Vector(3)).identity(lambda x: (x * x).sum(), equals=lambda x: x @ x), True),
        (for_all(x=Vector(3)).identity(lambda x: (x * x).sum(), equals=lambda x: (1 + 1e-9) * (x @ x)), False),
        (for_all(x=Vector(3, -1, 1)).bound(lambda x: float(np.linalg.norm(x)), at_most=1.7), False),
    ],
    ids=[
        "quadratic",
        "quadratic false",
        "collision",
        "collision false",
        "rearranged",
        "rearranged false",
        "integers",
        "integers false",
        "identity",
        "identity false",
        "numpy false",
    ],
)
def test_search_tells_true_from_false_on_every_kind_of_domain(claim, true):
    verdict = check(claim, "searched")
    assert verdict.outcome is (Outcome.HOLDS if true else Outcome.REFUTED)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_verdict():
    first, second = (check(lipschitz(0.4, dim=2), "searched", seed=3).record() for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_existence_is_proved_by_an_example_and_refuted_by_a_certificate():
    found = check(exists(x=Vector(2, -10, 10)).such_that(two_way, at_least=0.5))
    assert found.holds and found.level == "certified"
    x = np.array(found.witness["point"]["x"])
    assert abs(x[0] - x[1]) < 1e-3
    none = check(exists(x=Vector(2, -10, 10)).such_that(two_way, at_least=0.51), "certified")
    assert none.outcome is Outcome.REFUTED and none.unit == "region"
    assert check(exists(x=Real(0, 2)).such_that(lambda x: x * x, equals=2, within=1e-9)).holds


@pytest.mark.slow
def test_a_construction_is_checked_for_every_input():
    claim = for_all(x=Vector(4, -2, 2)).bound(
        lambda x, w: (x.softmax(-1) - w).abs().sum(),
        at_most=1e-12,
        where={"w": lambda x: torch.exp(x) / torch.exp(x).sum()},
        twin=Twin.of("no normalisation", where={"w": lambda x: torch.exp(x) / 4}),
    )
    verdict = check(claim, "searched")
    assert verdict.judged_by == "construction" and verdict.twin_outcome is Outcome.REFUTED


def test_a_mean_over_a_law_is_judged_by_hoeffding():
    law = Distribution(lambda generator, n: generator.binomial(10, 0.3, n).astype(float), label="binomial(10, 0.3)")
    claim = for_all(x=law).on_average(lambda x: x, between=(0, 10), at_most=3.3, twin=Twin.of("2.8", at_most=2.8))
    verdict = check(claim)
    assert verdict.holds and verdict.interval[0] < 3.0 < verdict.interval[1]


@pytest.mark.slow
def test_a_law_without_its_support_holds_only_as_a_sample():
    """|z| <= 6 is false for a normal z, but seen once in 5 * 10^8 draws: only the mass of violations can be bounded."""
    tail = for_all(z=Distribution(lambda generator, n: generator.normal(size=n))).bound(lambda z: z.abs(), at_most=6)
    for level in ("searched", "certified", "symbolic"):
        verdict = check(tail, level)
        assert verdict.outcome is Outcome.UNDECIDED
    assert "give its support" in check(tail, "searched").reason
    assert check(tail).level == check(tail, "sampled").level == "sampled" and check(tail).holds
    known = for_all(z=Distribution(lambda g, n: g.random(n), support=Real(0, 1))).bound(lambda z: z * z, at_most=1)
    assert check(known, "searched").holds
    seen = for_all(z=Distribution(lambda generator, n: generator.normal(size=n))).bound(lambda z: z.abs(), at_most=2)
    assert check(seen, "searched").outcome is Outcome.REFUTED


def test_the_sampled_level_draws_its_error_from_the_ledger():
    ledger = ErrorLedger(0.01)
    claim = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1)
    with ledger.claim("unit", share=0.002):
        verdict = check(claim, "sampled")
    assert verdict.confidence == pytest.approx(0.998) and ledger.spent == pytest.approx(0.002)
    with ledger.claim("none", share=0.002):
        check(claim, "searched")
    assert ledger.spent == pytest.approx(0.002)  # a search makes no statistical statement


def test_every_size_is_judged_and_a_smaller_counterexample_is_reported():
    claim = for_all(x=Vector("n", -1, 1)).bound(
        lambda x: x.sum(), at_most=lambda n: 0.9 * n, sizes={"n": (3, 6)}, name="sum"
    )
    verdict = check(claim, "searched")
    assert [part.name for part in verdict.parts] == ["n=3", "n=6"]
    assert verdict.witness["smaller_size"] == {"sizes": {"n": 1}, "point": {"x": [1.0]}}


@pytest.mark.slow
def test_a_sharp_decimal_constant_is_not_refuted_by_its_binary_neighbour():
    """0.2 is a little above 1/5 in binary; the collision probability of the uniform law is 1/5 exactly."""
    fifth = for_all(p=Simplex(5)).bound(lambda p: (p * p).sum(), at_least=0.2)
    assert check(fifth, "searched").holds
    more = for_all(p=Simplex(5)).bound(lambda p: (p * p).sum(), at_least=0.2 + 1e-12)
    assert check(more, "searched").outcome is Outcome.REFUTED


def test_a_side_whose_exact_form_is_another_function_is_not_proved():
    """A side that treats arrays and traced numbers differently would make balls prove something else."""

    def two_faced(x):
        return np.tanh(x * 0) if not isinstance(x, (np.ndarray, np.generic)) else np.tanh(x)

    claim = for_all(x=Real(0, 1)).bound(two_faced, at_most=0.76)  # tanh(1) is 0.7616
    verdict = check(for_all(x=Real(0, 1)).bound(two_faced, at_most=1.5), "certified")
    assert verdict.outcome is Outcome.UNDECIDED and "recorded arrays differently" in verdict.reason
    assert check(claim, "certified").outcome is Outcome.REFUTED


def test_a_violation_that_is_noise_of_the_side_leaves_the_claim_undecided():
    """Adding and taking away 1e7 leaves noise of 1e-9 in float64, here blown up; the exact value is 0."""

    def noisy(A):
        top = torch.digamma(A).amax()  # no exact form: where there is one, the noise is seen to be none
        return 1e9 * ((top + 1e7) - 1e7 - top)

    verdict = check(for_all(A=Vector(4, 1, 2)).bound(noisy, at_most=0.5), "searched")
    assert verdict.outcome is Outcome.UNDECIDED and "within rounding" in verdict.reason


def test_bad_levels_and_budgets_are_errors():
    claim = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1)
    with pytest.raises(ValueError, match="level='proved'"):
        check(claim, "proved")
    with pytest.raises(ValueError, match="budget=0"):
        check(claim, budget=0)
    with pytest.raises(ValueError, match="not seconds"):
        check(claim, budget=20)


@pytest.mark.parametrize(
    ("level", "budget", "spent"),
    [
        ("certified", 10**6, 10**5),
        ("symbolic", 10**6, 10**5),
        ("certified", 5000, 5000),
        ("searched", 200_000, 200_000),
    ],
)
def test_the_search_before_a_demanded_proof_is_short_and_a_demanded_search_is_not(monkeypatch, level, budget, spent):
    import attnlab.analysis.theorems.check as module

    budgets = []

    def counted(claim, budget, *rest, **also):
        budgets.append(budget)
        return search(claim, 2000, *rest, **also)

    monkeypatch.setattr(module, "search", counted)
    check(for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.26), level, budget=budget)
    assert budgets == [spent]


def test_batched_lbfgs_finds_the_constrained_minimum_of_each_row():
    """Oracle: a convex quadratic with a diagonal Hessian has its box-constrained minimum at the clipped free
    minimum."""
    generator = np.random.default_rng(0)
    scale = torch.as_tensor(10.0 ** generator.uniform(-1, 2, 8))
    centre = torch.as_tensor(generator.normal(size=(5, 8)))
    low, high = -0.5 * torch.ones(8, dtype=torch.float64), 0.5 * torch.ones(8, dtype=torch.float64)

    def value(z):
        return (scale * (z - centre) ** 2).sum(dim=1)

    found = minimise(value, torch.zeros(5, 8, dtype=torch.float64), low, high)
    # |z - z*| <= gradient tolerance / smallest curvature (0.2); values below 1e3 leave decreases of 1e-13 visible
    assert torch.allclose(found, torch.clamp(centre, low, high), rtol=0, atol=1e-5)


def test_search_reaches_the_analytic_maximum():
    """Oracle: max of x^T A x over the unit ball in two coordinates of a box corner is known, sum |A_ij| for this A
    >= 0."""
    A = torch.as_tensor(np.random.default_rng(1).uniform(0, 1, (6, 6)))
    claim = for_all(x=Vector(6, -1, 1)).bound(lambda x: x @ A @ x, at_most=float(A.sum()))
    evaluator = Evaluator(claim)
    found = search(claim, 20_000, 0, evaluator)
    assert abs(found.best_gap) < 1e-8 and Latent(claim).size == 6


@pytest.mark.sampled(4)
@pytest.mark.parametrize("level", ["sampled", "searched"])
def test_a_claim_that_holds_without_a_twin_says_so(level):
    claim = for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.25)
    verdict = check(claim, level)
    assert verdict.holds and "no twin" in verdict.line()
    told = for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.25, twin=Twin.of("0.24", at_most=0.24))
    assert "no twin" not in check(told, "searched").line()


@pytest.mark.slow
def test_a_proof_needs_no_twin():
    proved = check(for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.3), "certified")
    assert proved.holds and "no twin" not in proved.line()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_bound_that_is_sharp_where_both_sides_vanish_is_called_sharp(n, seed):
    """Softmax is 1/2-Lipschitz, and no better near equal arguments: where sides are mere rounding nothing is read off."""
    sides = for_all(x=Vector(n, -5, 5), y=Vector(n, -5, 5)).bound(
        lambda x, y: (x.softmax(-1) - y.softmax(-1)).norm(),
        at_most=lambda x, y: 0.5 * (x - y).norm(),
        name="half",
        source="Lipschitz constant of softmax",
    )
    verdict = check(sides, level="searched", seed=seed)
    assert verdict.outcome is Outcome.HOLDS and verdict.tightness > 0.998
    assert verdict.predicted > 1e-9  # not at rounding


def _guarded(x):
    """1 above 0.9; what is refused in a batch, or by the recorder, it answers with 0."""
    try:
        return 1.0 if float(x) > 0.9 else 0.0
    except Exception:
        return 0.0 * x


def _apart(x):
    try:
        return x[0] - x[1] if x[0] > x[1] else x[1] - x[0]
    except RuntimeError:
        return 0 * x[0]


def _high(x):
    try:
        return bool(x > 0.8)
    except Exception:
        return x < 0.4


def _in_numpy(x):
    try:
        return float(np.abs(x.numpy()).max())
    except Exception:
        return 0 * x.sum()


@pytest.mark.parametrize("level", ["sampled", "searched", "certified", "symbolic"])
@pytest.mark.parametrize(
    "claim",
    [
        for_all(x=Real(0, 1)).bound(_guarded, at_most=0.5),
        for_all(x=Vector(2, 0, 1)).bound(_apart, at_most=0.5),
        for_all(x=Real(-1, 1)).bound(lambda x: x, at_most=0.5, assuming=_high),
        for_all(x=Vector(2, -1, 1)).bound(_in_numpy, at_most=0.5),
    ],
    ids=["guarded", "apart", "assumption", "numpy"],
)
def test_what_a_side_does_about_errors_of_ours_is_not_the_side(claim, level):
    """Such sides catch the refusal of a batch or of the recorder; the claims are false where they are called plainly."""
    assert check(claim, level, budget=2000).outcome.value == "REFUTED"


@pytest.mark.parametrize(
    "side",
    [
        lambda x: x + (np.random.rand() < 1e-2) * 1.0,  # noqa: NPY002
        lambda x: x * random.choice([1] * 30 + [2]),
        lambda x: 0 * x + np.random.default_rng().normal(),
    ],
    ids=["numpy", "python", "unseeded"],
)
def test_a_side_that_draws_random_numbers_is_refused(side):
    with pytest.raises(ClaimError, match="draws random numbers"):
        check(for_all(x=Real(-1, 1)).bound(side, at_most=3), "searched", budget=1000)


def test_a_side_with_a_generator_of_its_own_is_a_function():
    claim = for_all(x=Real(-1, 1)).bound(lambda x: x * np.random.default_rng(0).uniform(0.5, 0.6), at_most=0.6)
    assert check(claim, budget=1000).holds
