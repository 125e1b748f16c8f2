"""The claims on normalisers: exact ones on live runs and spoiled ones, laws on planted runs of truth and rivals."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.base_scores import dot_product
from attnlab.theory.score_maps import difference, gaussian_gate, reversed

paper = load("normaliser_family_2")

#: Claim -> what is spoiled, and by how much.
EXACT = {
    "amplifiers_are_differences": ("operator", 1e-9),
    "reversed_maps_conserve_totals": ("total", 1e-9),
    "plans_contract_by_a_singular_value": ("columns", 1e-6),
    "products_are_one_bell": ("product", 1e-5),
}


SLOW = {"plans_contract_by_a_singular_value"}  # some hundred iterations of 24 plans, twice


@pytest.mark.parametrize("name", [pytest.param(x, marks=pytest.mark.slow) if x in SLOW else x for x in EXACT])
def test_exact_claims_hold_on_live_runs_and_fall_when_one_number_is_spoiled(name):
    claim, (field, change) = paper.claims[name], EXACT[name]

    assert claim.function(claim.setting.smoke, LiveLab()).holds
    assert not claim.function(claim.setting.smoke, LiveLab(spoiled(field, change))).holds


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).holds


@pytest.mark.parametrize(("correlation", "holds"), [(1.0, True), (0.9, False)])
def test_amplifiers_know_the_noise_that_both_maps_share(correlation, holds):
    def make(setting):
        rho, n = correlation * setting.correlation, setting.n_replicas
        G, best = difference.noise_gain(setting.ratio, rho), difference.best_gain(rho)
        K = difference.best_ratio(rho)
        return {
            "gain": scattered(G, 0.003 * G, n),
            "best": scattered(best, 0.003 * best, n),
            "share": scattered((K - 0.5) / (K + 0.5), 0.002, n),
        }

    assert judged("rejection_pays_if_noise_is_common", make) is holds
    assert judged("the_best_ratio_is_a_regression", make) is holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.2, False), (0.8, False)])
def test_received_mass_has_its_variance(change, holds):
    def make(setting):
        exact = dot_product.participation_exact(setting.score_std, setting.n_tokens) - 1 / setting.n_tokens
        return {"variance": scattered(change * exact, 0.03 * exact, setting.n_replicas)}

    assert judged("received_mass_scatters", make) is holds


@pytest.mark.parametrize("factor", [1.05, 1 / 1.05])
def test_the_margin_of_received_mass_does_not_grow_with_an_error_of_its_law(factor, monkeypatch):
    def margins():
        claim, found = paper.claims["received_mass_scatters"], []
        verdict = claim.function(
            claim.setting.desk, PlantedLab(lambda s: {"variance": scattered(1e-3, 1e-6, s.n_replicas)})
        )
        for part in verdict.parts:
            found.append(part.margin)
        return np.array(found)

    before, law = margins(), reversed.received_variance
    monkeypatch.setattr(reversed, "received_variance", lambda s, n: factor * law(s, n))
    assert np.all(abs(margins() / before - 1) < 0.05)


@pytest.mark.parametrize(("margin", "holds"), [(0.0, True), (0.5, False), (-0.5, False)])
def test_parents_are_found_by_their_margin(margin, holds):
    def make(setting):
        n, D, s, m = setting.n_tokens, setting.margin, setting.noise_std, setting.n_replicas
        children = np.random.default_rng(1).integers(0, 4, (m, n))
        received = np.array([[reversed.received_mass(int(c), n, D) for c in row] for row in children])
        p = reversed.parent_recovery(n, D + margin, s)
        return {"recovered": scattered(p, 0.01, m), "children": children, "received": received}

    assert judged("parents_receive_by_their_children", make) is holds


@pytest.mark.parametrize(("wider", "holds"), [(1.0, True), (1.3, False)])
def test_bells_know_their_width(wider, holds):
    def make(setting):
        law, n = gaussian_gate.participation(wider * setting.width), setting.n_replicas
        gate = np.full((n, 12), 1 / 12)
        same = {name: gate for name in ("gate", "shifted", "scaled", "off_centre")}
        return {"participation": scattered(law, 0.003, n), "off_centre_scaled": gate + 0.01} | same

    assert judged("bells_are_nearly_flat", make) is holds
