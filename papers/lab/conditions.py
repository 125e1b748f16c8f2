"""Where a statement speaks and where it does not: conditions of theorems, and runs too short or too few to judge.

A theorem has conditions, and a prediction reads some fields of the setting and covers some of their values. Outside them
nothing is refuted: the verdict is VACUOUS, with the reason. A claim declares them once, ``covers={"n_heads": at_least(2),
"spectrum": that(is_white, "the formula is for a white covariance"), "keys": DECLARED}``, and the lab checks them before
anything is simulated. ``DECLARED`` covers only the values that the claim's own settings have: it is for predictions that
are written for these values.

Conditions on what was simulated are asked inside the claim: :func:`too_few`, :func:`not_yet`, :func:`outside`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attnlab.analysis.verdicts.verdict import Outcome, Verdict

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Covered:
    """The values of a field that a prediction covers: a test, the words for it, and the reason there is a limit."""

    test: Callable[[Any], bool] | None
    words: str
    why: str = ""


DECLARED = Covered(None, "the declared values", "the prediction is written for them")


def at_least(least: float, why: str = "") -> Covered:
    """Values of ``least`` and above."""
    return Covered(lambda value: value >= least, f">= {least:g}", why)


def at_most(most: float, why: str = "") -> Covered:
    """Values of ``most`` and below."""
    return Covered(lambda value: value <= most, f"<= {most:g}", why)


def one_of(*values: Any, why: str = "") -> Covered:
    """These values and no other."""
    return Covered(lambda value: value in values, " or ".join(map(repr, values)), why)


def that(test: Callable[[Any], bool], words: str, why: str = "") -> Covered:
    """Values for which ``test`` is true; ``words`` say which they are, such as ``"all eigenvalues equal"``."""
    return Covered(test, words, why)


def uncovered(covers: Mapping[str, Covered], setting: Any, declared: tuple[Any, ...] = ()) -> Verdict | None:
    """VACUOUS, naming the first field whose value the prediction does not cover; None where it covers them all.

    ``declared`` are the settings of the claim at its scales, whose values :data:`DECLARED` covers.
    """
    for name, covered in covers.items():
        value = value_of(setting, name)
        if covered.test is None:
            inside = any(value == value_of(other, name) for other in declared)
        else:
            inside = bool(covered.test(value))
        if not inside:
            return outside(
                f"{name}={value!r}: covered are {covered.words}" + (f"; {covered.why}" if covered.why else "")
            )
    return None


def value_of(setting: Any, name: str) -> Any:
    """The field ``name`` of a setting, looked for in nested settings too."""
    found = _find(setting, name)
    if not found:
        raise ValueError(f"a claim covers the field {name!r}, which {type(setting).__name__} does not have")
    return found[0]


def outside(reason: str) -> Verdict:
    """VACUOUS: the setting is outside the conditions of the theorem, so nothing could refute it."""
    return Verdict(Outcome.VACUOUS, "assumption", reason=reason)


def too_few(
    condition: np.ndarray, what: str, *, least: int = 2, wants: str = "training", unit: str = "replica"
) -> Verdict | None:
    """UNDECIDED if fewer than ``least`` replicas meet a condition; ``wants`` says what brings it about, or more of them."""
    met = int(condition.sum())
    if met >= least:
        return None
    return Verdict(
        Outcome.UNDECIDED,
        "condition",
        n=met,
        unit=unit,
        reason=f"{met} of {len(condition)} {unit}s {what}, to be at least {least}",
        wants=wants,
    )


def not_yet(reason: str, n: int | None = None) -> Verdict:
    """UNDECIDED: training is not where the statement begins; a longer one decides."""
    return Verdict(Outcome.UNDECIDED, "condition", n=n, reason=reason, wants="training")


def _find(setting: Any, name: str) -> list[Any]:
    if not dataclasses.is_dataclass(setting):
        return []
    fields = {field.name: getattr(setting, field.name) for field in dataclasses.fields(setting)}
    if name in fields:
        return [fields[name]]
    return [value for nested in fields.values() for value in _find(nested, name)]
