r"""The scalar model of scanning and snapping, integrated numerically.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), section 5: one query, one common token with logit z, normalisers frozen at
their initial values (C_0 = rho_0^4 / K), decoder growth h.

.. math:: \dot h = \frac{\eta_Y / K}{M - 1 + e^{Mh}}, \quad \gamma = \frac{(M-1)^2 h}{M - 1 + e^{Mh}}, \quad
    \dot z = -\frac{\eta_Z}{C_0} \gamma e^{4z}, \quad \dot B = \frac{\eta_Z}{C_0} \gamma e^{4z}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.plan import equally_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class ScanSetting:
    """``scales`` (C_0), ``vocabularies`` (M) and ``n_classes`` (K) are drawn from between two ends each, log-uniformly, and so
    are the rates. Time runs to ``end`` times K ln M / eta_Y in ``n_steps`` steps of the classical Runge-Kutta method, equal in
    the square root of time: the early flow is fast where C_0 is small. ``faster``: factor on eta_Y of a second decoder beside
    each.
    """

    scales: tuple[float, float] = (0.1, 4.0)
    vocabularies: tuple[float, float] = (50.0, 5000.0)
    n_classes: tuple[float, float] = (2.0, 20.0)
    decoder_rates: tuple[float, float] = (0.2, 5.0)
    attention_rates: tuple[float, float] = (0.2, 5.0)
    faster: float = 1.05
    end: float = 20.0
    n_steps: int = 4000
    n_records: int = 40
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "scales",
            "vocabularies",
            "n_classes",
            "decoder_rates",
            "attention_rates",
            "faster",
            "end",
            "n_steps",
            "n_records",
            "n_replicas",
        )


@simulation(name="token_selection_scan.scan_flow", block=16)
def scan_flow(setting: ScanSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """The flow from zero, one replica for each draw of the constants.

    Returns ``scale``, ``vocabulary``, ``classes``, ``decoder_rate``, ``attention_rate (replica,)`` and, ``(replica, record)``,
    ``time`` (steps of gradient descent), ``growth`` (h), ``z``, ``exposure`` (B), and ``exposure_faster``, B with the faster
    decoder at the same times.
    """
    ends = np.log(
        [setting.scales, setting.vocabularies, setting.n_classes, setting.decoder_rates, setting.attention_rates]
    )
    drawn = np.exp(np.stack([np.random.default_rng(seed).uniform(*ends.T) for seed in seeds]).T)
    drawn[1:3] = np.round(drawn[1:3])
    C0, M, K, eta_Y, eta_Z = drawn
    last, rates = setting.end * K * np.log(M) / eta_Y, eta_Y * np.array([[1.0], [setting.faster]])

    def velocity(root: float, state: np.ndarray) -> np.ndarray:
        """d state / d root, time being last * root^2."""
        h, z, _ = state  # each (decoder, replica)
        inverse = 1 / (M - 1 + np.exp(M * h))
        moved = eta_Z / C0 * (M - 1) ** 2 * h * inverse * np.exp(4 * z)
        return 2 * last * root * np.stack([rates / K * inverse, -moved, moved])

    state, d = np.zeros((3, 2, len(seeds))), 1 / setting.n_steps
    kept = set(equally_spaced_steps(setting.n_steps, setting.n_records))
    path = []
    for step in range(setting.n_steps + 1):
        root = step * d
        if step in kept:
            path.append(np.stack([last * root**2, *state[:, 0], state[2, 1]]))
        k1 = velocity(root, state)
        k2 = velocity(root + d / 2, state + d / 2 * k1)
        k3 = velocity(root + d / 2, state + d / 2 * k2)
        k4 = velocity(root + d, state + d * k3)
        state = state + d / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    time, growth, z, exposure, faster = np.stack(path, axis=-1)
    return {
        "scale": C0,
        "vocabulary": M,
        "classes": K,
        "decoder_rate": eta_Y,
        "attention_rate": eta_Z,
        "time": time,
        "growth": growth,
        "z": z,
        "exposure": exposure,
        "exposure_faster": faster,
    }
