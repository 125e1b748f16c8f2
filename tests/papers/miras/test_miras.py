"""The paper on online memories: claims on real runs, and on runs spoilt on purpose."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.associative_memory import online_errors as theory

paper = load("miras")
KEPT = {}


class KeptLab(LiveLab):
    """Runs every simulation once and spoils copies of what it gave."""

    def _arrays(self, simulation, number, setting):
        key = simulation.name, number, setting
        if key not in KEPT:
            spoil, self.spoil = self.spoil, dict
            KEPT[key] = super()._arrays(simulation, number, setting)
            self.spoil = spoil
        return self.spoil(KEPT[key])


def judged(name, lab, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.smoke, **changes), lab)


def scaled(name, factor):
    return KeptLab(lambda runs: runs | ({name: runs[name] * factor} if name in runs else {}))


EXACT = {
    "dictionary": "squared_gated_first",
    "gradients": "huber_vector",
    "retention_forms": "simplex",
    "mirror_maps": "minimiser",
    "entropic_memory": "memory",
    "correlated_keys": "delta",
    "powers": "sizes",
}


@pytest.mark.parametrize(("name", "array"), EXACT.items())
def test_exact_claims_hold_and_an_error_of_a_millionth_is_seen(name, array):
    assert judged(name, KeptLab()).holds
    assert judged(name, scaled(array, 1 + 1e-6)).outcome.value == "REFUTED"


def test_sizes_under_the_printed_map():
    assert judged("printed_map_climbs", KeptLab()).holds
    assert (
        judged("printed_map_climbs", KeptLab(lambda x: x | {"sizes": x["sizes"] ** 1.001})).outcome.value == "REFUTED"
    )
    assert judged("printed_map_climbs", KeptLab(), map="mirror").outcome.value == "VACUOUS"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["printed_map_rests_below", "signed_targets", "forgetting", "chunks"])
def test_other_claims_hold_on_real_runs(name):
    assert judged(name, KeptLab()).holds


def planted(law, spread, factor=1.0):
    """Runs of 16 replicas whose mean is exactly the law times a factor."""
    z = np.linspace(-1.5, 1.5, 16)
    return law * factor * (1 + spread * z / z.std(ddof=1))


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.15, "REFUTED"), (0.85, "REFUTED")])
def test_outliers(factor, outcome):
    def make(s):
        if s.loss == "squared":
            law = theory.tracking_error_exact(s.dim, s.rate, s.outlier_rate**0.5 * s.outlier_std, 0.0)
        else:
            law = theory.OutlierLaw(s.dim, s.rate, s.loss, s.scale, s.outlier_rate).mean()
        return {"error": planted(law, 0.001, factor)}

    assert judged("outliers", PlantedLab(make), n_replicas=32).outcome.value == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.1, "REFUTED")])
def test_drift(factor, outcome):
    def make(s):
        return {"error": planted(theory.tracking_error_exact(s.dim, s.rate, s.noise_std, s.drift_std), 0.002, factor)}

    assert judged("drift", PlantedLab(make)).outcome.value == outcome


def test_a_longer_start_or_noise_is_outside():
    assert judged("outliers", KeptLab(), noise_std=0.1).outcome.value == "VACUOUS"
    assert judged("forgetting", KeptLab(), gate=1.0).outcome.value == "VACUOUS"
