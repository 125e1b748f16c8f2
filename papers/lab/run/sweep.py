"""A claim judged at every point of a grid of settings: where it holds, and where the prediction stops being true."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.papers.lab.declare import Claim
from attnlab.papers.lab.errors import ItemError, UsageError
from attnlab.papers.lab.overrides import apply, check_known
from attnlab.papers.lab.run.reproduce import BUDGET, Options, claim_record, failed_record, judge_in_looks, why_failed
from attnlab.papers.lab.run.threads import results, started
from attnlab.papers.lab.run.workbench import Lab, Workbench

MOST = 10_000  # points of a map
AT_ONCE = 16  # points that are judged side by side; each waits for its blocks


@dataclass(frozen=True)
class Axis:
    """One swept field: its name and the texts of its values, as on the command line."""

    key: str
    values: tuple[str, ...]


def parsed_axis(token: str) -> Axis:
    """The axis of ``KEY=a:b:step`` (both ends included), ``KEY=a:b:logN`` or ``KEY=v1,v2,v3``.

    Whole numbers stay whole where both ends and the step are.
    """
    key, equals, spec = token.partition("=")
    if not equals or not key.isidentifier() or not spec:
        raise UsageError(f"bad axis {token!r}: write KEY=a:b:step, KEY=a:b:logN or KEY=v1,v2,v3, for example dim=3:9:2")
    if ":" not in spec:
        values = tuple(filter(None, (value.strip() for value in spec.split(","))))
    else:
        values = _range(token, spec.split(":"))
    if len(values) != len(set(values)):
        raise UsageError(f"axis {token!r} names a value twice")
    if len(values) < 2:
        raise UsageError(f"axis {token!r} has {len(values)} value; a map needs at least 2 per axis")
    return Axis(key, values)


def _range(token: str, parts: list[str]) -> tuple[str, ...]:
    if len(parts) != 3:
        raise UsageError(f"bad axis {token!r}: a range is a:b:step or a:b:logN, for example 0.1:1:log5")
    low, high, step = parts
    try:
        a, b = float(low), float(high)
        log = step.startswith("log")
        amount = float(step.removeprefix("log"))
    except ValueError:
        raise UsageError(f"bad axis {token!r}: {':'.join(parts)!r} is not a:b:step or a:b:logN with numbers") from None
    if not (math.isfinite(a) and math.isfinite(b) and a < b):
        raise UsageError(f"bad axis {token!r}: the range goes from {low} to {high}; write the smaller end first")
    whole = all(text.lstrip("-").isdecimal() for text in (low, high))
    if log:
        if a <= 0 or not 2 <= amount <= MOST or amount != int(amount):
            raise UsageError(f"bad axis {token!r}: logN needs positive ends and a whole N from 2 to {MOST}")
        found = [a * (b / a) ** (k / (amount - 1)) for k in range(int(amount))]
        return tuple(dict.fromkeys(str(round(x)) if whole else f"{x:.6g}" for x in found))
    if not 0 < amount < math.inf:
        raise UsageError(f"bad axis {token!r}: the step must be positive and finite")
    steps = (b - a) / amount * (1 + 1e-12)
    if steps > MOST:
        raise UsageError(f"bad axis {token!r}: {steps:.3g} values are too many; take a larger step")
    count = math.floor(steps) + 1
    return tuple(
        str(round(a + k * amount)) if whole and amount == int(amount) else f"{a + k * amount:.9g}" for k in range(count)
    )


def grid(claim: Claim, axes: Sequence[Axis], fixed: Mapping[str, str], options: Options) -> list[dict[str, str]]:
    """The points of a grid, the last axis fastest; a field that the claim does not have or that is given twice is an error."""
    keys = [axis.key for axis in axes]
    if len(set(keys)) != len(keys) or set(keys) & set(fixed):
        raise UsageError(f"a field is given twice: {', '.join([*keys, *fixed])}")
    check_known([*keys, *fixed], [claim.setting.at(options.scale)])
    number = math.prod(len(axis.values) for axis in axes)
    if number > MOST:
        raise UsageError(f"the map has {number} points; {MOST} are the most: take larger steps")
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def sweep(
    claim: Claim, axes: Sequence[Axis], fixed: Mapping[str, str], options: Options, bench: Workbench
) -> list[dict[str, Any]]:
    """The record of the claim at each point of the :func:`grid`; each has its ``point``.

    A point whose setting is impossible, or where the claim cannot be evaluated, is FAILED with the reason and costs no other
    point its verdict. Each point has the whole error budget of one claim: the map is many questions, not one.
    """
    own, points = claim.setting.at(options.scale), grid(claim, axes, fixed, options)

    def judge(point: dict[str, str]) -> dict[str, Any]:
        started = time.perf_counter()
        lab, setting = Lab(bench, options.scale, options.replicas), None

        def make(look: int) -> Lab:
            nonlocal lab
            lab = Lab(bench, options.scale, options.replicas, times=2 ** (look - 1))
            return lab

        try:
            try:
                setting = apply(own, {**fixed, **point})
            except UsageError as error:
                raise ItemError(str(error)) from error
            verdict, _ = judge_in_looks(claim, setting, make, ErrorLedger(BUDGET), BUDGET / claim.parts, options)
            record = claim_record(claim, verdict, options, setting, lab, time.perf_counter() - started)
        except (Exception, SystemExit) as error:
            record = failed_record(claim, why_failed(error), options, setting, lab)
        return record | {"point": point, "difference": difference(record)}

    def attempt(point: dict[str, str]) -> dict[str, Any]:
        try:
            return judge(point)
        finally:
            bench.display.judged(str(point))

    bench.display.start(len(points))
    try:
        return results(started([partial(attempt, point) for point in points], AT_ONCE))
    except BaseException:
        bench.close(now=True)
        raise


def difference(record: Mapping[str, Any]) -> float | None:
    """Measured over predicted minus one; where the prediction is zero, measured in units of the margin."""
    measured, predicted, margin = (record[name] for name in ("measured", "predicted", "margin"))
    if measured is None or predicted is None:
        return None
    if predicted != 0:
        return measured / predicted - 1
    return measured / margin if margin else None
