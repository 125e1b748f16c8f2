"""The paper on attention as marginal probability: claims on small live runs, and spoilt by a few per cent."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.latent_structures import two_keys

paper = load("marginal_probability")
EXACT = {
    "one_parent_is_softmax": "marginals",
    "priors_make_mechanisms": "mean",
    "other_structures": "marginals",
    "beyond_marginals": "mean_square",
    "a_fixed_number_is_a_threshold": "marginals",
    "warm_slopes": "exact",
    "rings": "sinkhorn",
    "belief_propagation_freezes": "factor",
    "evidence_bounds": "sinkhorn_value",
    "retrieval_descends": "descent",
    "retrieval_rate": "factor",
    "slots_need_norms": "two",
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "array"), EXACT.items())
def test_exact_claims_hold_on_live_runs_and_see_two_per_cent(name, array):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds

    def spoil(runs):
        sign = 1 if array == "sinkhorn_value" else -1  # the floor is violated by larger values
        return {k: (x + sign * 0.02 * np.abs(x) if k == array else x) for k, x in runs.items()}

    assert claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value == "REFUTED"


def planted(setting, separation, sharpness, shift, factor, noise=1e-7):
    rng = np.random.default_rng(3)
    pairs = zip(setting.bins, setting.bins[1:], strict=False)
    right = [two_keys.share_in_bin_exact(separation, *ends, sharpness, shift)[1] for ends in pairs]
    loss = two_keys.log_loss_exact(separation, sharpness, shift)
    error = two_keys.denoising_error_exact(separation, sharpness)
    return {
        name: factor * np.asarray(x) + noise * rng.standard_normal((setting.n_replicas, *np.shape(x)))
        for name, x in {"right": right, "log_loss": loss, "error": error}.items()
    }


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (0.96, "REFUTED")])
def test_statistical_claims_on_planted_runs(factor, outcome):
    def channel(setting):
        return planted(setting, setting.separation, setting.sharpness, setting.sharpness * setting.tilt, factor)

    def swaps(setting):
        D, pair = setting.separation, setting.separation * 2**0.5
        three = [planted(setting, *each, 0.0, factor) for each in ((pair, 1.0), (D, 1.0), (pair, 0.5))]
        return {name: np.stack([each[name] for each in three], 1) for name in ("right", "log_loss")}

    for name, runs in (("calibration", channel), ("posterior_mean", channel), ("queries_that_share_keys", swaps)):
        claim = paper.claims[name]
        assert claim.judge(claim.setting.desk, PlantedLab(runs)).outcome.value == outcome, name


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("name", "array"), [("hard_attention_is_a_draw", "one"), ("marginals_are_not_the_structure", "one_to_one")]
)
def test_claims_about_draws_see_a_few_per_cent(name, array):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds
    worse = LiveLab(lambda runs: {k: x * (0.9 if k == array else 1) for k, x in runs.items()})
    assert claim.judge(claim.setting.smoke, worse).outcome.value == "REFUTED"
