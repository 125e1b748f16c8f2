"""The arguments that judges share, checked: twin, null control, margins, numbers per replica."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.statistics.intervals import finite_array, finite_vector
from attnlab.analysis.suggestions import did_you_mean
from attnlab.analysis.verdicts.verdict import NoRival, Twin


def as_twin(judge_name: str, twin: Any, arguments: Mapping[str, Any], shorthand: str | None) -> Twin:
    """The twin, checked: it replaces arguments that the judge has, by something else.

    A bare number or array is shorthand for replacing the argument named ``shorthand``.
    """
    if twin is None:
        raise TypeError(
            f"{judge_name} needs a twin: the nearest rival theory, which the same check must refute; "
            f"pass {_examples(shorthand, arguments)}"
        )
    if not isinstance(twin, Twin):
        twin = _from_shorthand(judge_name, twin, arguments, shorthand)
    for name in twin.arguments:
        if name not in arguments:
            hint = did_you_mean(name, arguments)
            raise ValueError(
                f"twin {twin.label!r} replaces {name!r}, but {judge_name} lets a twin replace only "
                f"{', '.join(arguments)}{hint}"
            )
    # successes may happen to be those of the rival, too: then the rival passes, and the verdict says so
    if all(np.asarray(value).dtype != bool and _same(arguments[name], value) for name, value in twin.arguments.items()):
        raise NoRival(
            f"twin {twin.label!r} replaces nothing: its {', '.join(twin.arguments)} equals the claim's "
            "own; name the nearest rival theory"
        )
    return twin


def as_null(judge_name: str, null: Any, arguments: Mapping[str, Any], data: str) -> Twin | None:
    """The null control, checked: it replaces the measured values by those of a run in which nothing is learnt."""
    if null is None:
        return None
    if not isinstance(null, Twin):
        null = Twin.of("nothing is learnt", **{data: null})
    for name in null.arguments:
        if name not in arguments:
            raise ValueError(
                f"the null control replaces {name!r}, which {judge_name} lacks; it has {', '.join(arguments)}"
            )
    return null


def finite_number(name: str, value: Any) -> float:
    """A finite float, or an error that names it."""
    if isinstance(value, (bool, np.bool_)) or np.ndim(value) != 0:
        raise ValueError(f"{name} must be one number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number!r}")
    return number


def margin(name: str, value: Any, *, zero: bool = False) -> float:
    """A margin chosen beforehand: finite and positive (or zero, where that means something)."""
    number = finite_number(name, value)
    if number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be {'>= 0' if zero else '> 0'}, got {number!r}; choose it before seeing data")
    return number


def replicas(name: str, values: ArrayLike) -> np.ndarray:
    """One finite number per replica, shape (replica,)."""
    return finite_vector(name, values)


def per_replica(name: str, value: ArrayLike, n: int) -> np.ndarray:
    """A number for all replicas, or one each, as shape (n,)."""
    x = finite_array(name, value)
    if x.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or one for each of the {n} replicas, got shape {x.shape}")
    return np.broadcast_to(x, (n,))


def _from_shorthand(judge_name: str, value: Any, arguments: Mapping[str, Any], shorthand: str | None) -> Twin:
    if shorthand is None or isinstance(value, (bool, str)):
        raise TypeError(f"{judge_name} cannot read twin={value!r}; pass {_examples(shorthand, arguments)}")
    if callable(value):
        return Twin.of(f"{shorthand}={getattr(value, '__name__', 'rival')}", **{shorthand: value})
    x = np.asarray(value)
    if x.dtype.kind not in ("fiu" if x.ndim == 0 else "fiubc"):
        raise TypeError(f"{judge_name} cannot read twin={value!r}; pass {_examples(shorthand, arguments)}")
    label = f"{shorthand}={float(x):.6g}" if x.ndim == 0 else f"{shorthand} of shape {x.shape}"
    return Twin.of(label, **{shorthand: value})


def _examples(shorthand: str | None, arguments: Mapping[str, Any]) -> str:
    name = shorthand or next(iter(arguments))
    short = f"twin=<rival {shorthand}> or " if shorthand else ""
    return f'{short}twin=Twin.of("name of the rival", {name}=...)'


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if callable(a) or callable(b):
        return False
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))
