"""Compare a prediction with a measurement, say how sure that is, and draw it.

The public names below load on first use, so importing the package costs nothing. A module's line in ``_MODULES`` lists
what it offers here.
"""

from typing import Any

from attnlab.analysis import first_use

_MODULES = {
    "verdicts.verdict": ("Outcome", "Twin", "Verdict", "all_of"),
    "verdicts.budget": (
        "budget",
        "euler_step",
        "finite_size",
        "relative",
        "replicas",
        "rounding",
        "sampling",
        "step_size",
    ),
    "verdicts.ledger": ("ErrorLedger", "LedgerError"),
    "statistics.intervals": (
        "clopper_pearson",
        "difference_interval",
        "dkw_band",
        "jackknife_interval",
        "mean_interval",
        "median_interval",
        "paired_interval",
        "quantile_interval",
        "slope_interval",
    ),
    "judges.values": ("agrees", "bounded"),
    "judges.order": ("ordered", "share"),
    "judges.rates": ("exponent", "trend"),
    "judges.limits": ("converges",),
    "judges.paths": ("aligned", "follows", "frozen"),
    "judges.exact": ("exhaustive", "identical"),
    "judges.training": ("settles",),
    "theorems.statement.domains": (
        "Distribution",
        "Integer",
        "Matrix",
        "Permutation",
        "PositiveDefinite",
        "Real",
        "Simplex",
        "Sphere",
        "Vector",
    ),
    "theorems.statement.claim": ("Assumption", "Claim", "ClaimError", "exists", "for_all"),
    "theorems.check": ("check",),
    "theorems.certificate": ("CertificateError", "check_certificate", "save_certificate"),
    "theorems.witness": ("WitnessError", "replay", "save_witness"),
    "theorems.assumptions": ("audit",),
    "theorems.engines.sampling": ("hoeffding_interval",),
    "statistics.sequences": ("betting_sequence", "empirical_bernstein_sequence", "gaussian_sequence", "mean_sequence"),
    "statistics.sequential": ("mean_within", "until_decided", "with_looks"),
}

__all__ = first_use.names(_MODULES)


def __getattr__(name: str) -> Any:
    return first_use.load(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
