"""One error budget for a whole run: every verdict draws its share, and nobody draws what was not declared.

With many verdicts per run at 99 % each would be wrong somewhere too often. The ledger holds the probability that *any*
verdict of the run is wrong (default 1 %), hands each claim a share, and each judge called inside the claim draws an
equal part of it. The sum of all parts stays within the budget, so by the union bound the whole run errs with at most
that probability, however the verdicts depend on each other.

>>> ledger = ErrorLedger(budget=0.01)
>>> with ledger.claim("he2025.risk", share=0.001, parts=2):
...     round(draw("agrees"), 6), round(draw("ordered"), 6)
(0.0005, 0.0005)
>>> round(ledger.spent, 6)
0.001

A claim that is judged again on more replicas names its look, 1, 2, 3, ...; look k draws the fraction 1 / (k (k + 1))
of the share, and these sum to one. If the number of looks is known, the last one draws what the others left. So
replicas may be added until the verdict decides, as often as one likes, and the error of the whole procedure stays within
the share.

The current claim is a context variable: every thread opens its own claims, and one ledger may serve many threads. A
thread started inside a claim does not see it, unless it runs in a copy of the context.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

DEFAULT_CONFIDENCE = 0.99

_SLACK = 1 + 1e-9  # sums of parts may exceed their total by rounding only


class LedgerError(ValueError):
    """A claim or a judge asked for more error than was set aside for it."""


@dataclass(frozen=True)
class Draw:
    """One row of the record: which judge of which claim may be wrong with which probability."""

    claim: str
    judge: str
    error: float
    look: int | None = None


@dataclass
class _Account:
    """What one claim may still draw."""

    ledger: ErrorLedger
    claim: str
    error: float
    parts: int
    look: int | None
    drawn: list[Draw] = field(default_factory=list)


_CURRENT: ContextVar[_Account | None] = ContextVar("attnlab_error_account", default=None)


class ErrorLedger:
    """The error budget of one run. ``budget`` is the probability that any of its verdicts is wrong, in (0, 1)."""

    def __init__(self, budget: float = 0.01) -> None:
        self.budget = _probability("budget", budget)
        self._lock = threading.Lock()
        self._shares: dict[str, float] = {}
        self._looks: dict[str, set[int | None]] = {}
        self._draws: list[Draw] = []

    @contextmanager
    def claim(
        self, claim_id: str, share: float, parts: int = 1, look: int | None = None, looks: int | None = None
    ) -> Iterator[ErrorLedger]:
        """Judges called inside draw ``share / parts`` each.

        ``parts`` is the number of judges that the claim calls. ``look`` counts how often the claim is judged on growing
        data (1 for the first time); None means once only, with the whole share. ``looks`` is the number of looks at most,
        if it is known beforehand; the last of them draws 1 / looks, so that the whole share is spent. Raises
        :class:`LedgerError` if the shares exceed the budget, or if a claim is judged again without its own look.
        """
        share = _probability("share", share)
        if isinstance(parts, bool) or int(parts) != parts or parts < 1:
            raise ValueError(f"parts must be a whole number >= 1 (the judges the claim calls), got {parts!r}")
        if look is not None and (isinstance(look, bool) or int(look) != look or look < 1):
            raise ValueError(f"look must be None or a whole number >= 1, got {look!r}")
        if looks is not None and (look is None or not look <= looks):
            raise ValueError(f"looks={looks!r} is the last look; look={look!r} must lie between 1 and it")
        self._reserve(claim_id, share, look)
        error = share if look is None else share / (look if look == looks else look * (look + 1))
        token = _CURRENT.set(_Account(self, claim_id, error, int(parts), look))
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @property
    def reserved(self) -> float:
        """Sum of the shares of all claims opened so far."""
        with self._lock:
            return math.fsum(self._shares.values())

    @property
    def spent(self) -> float:
        """Sum of the errors drawn so far: the probability that any verdict given so far is wrong is at most this."""
        with self._lock:
            return math.fsum(row.error for row in self._draws)

    def rows(self) -> list[dict[str, Any]]:
        """Who drew what, as plain records in the order of claims, looks and draws (not of threads)."""
        with self._lock:
            rows = list(self._draws)
        return [asdict(row) for row in sorted(rows, key=lambda row: (row.claim, row.look or 0))]

    def _reserve(self, claim_id: str, share: float, look: int | None) -> None:
        with self._lock:
            looks = self._looks.get(claim_id, set())
            if looks and (look is None or look in looks or None in looks):
                raise LedgerError(
                    f"claim {claim_id!r} was judged already in this ledger; judging again on more data "
                    f"needs its own look, look={max(k or 0 for k in looks) + 1}, from the first time on"
                )
            if self._shares.get(claim_id, share) != share:
                raise LedgerError(
                    f"claim {claim_id!r} had share={self._shares[claim_id]:g} at its first look and "
                    f"asks for {share:g} now; keep one share for all looks"
                )
            total = math.fsum(self._shares.values()) + (0 if claim_id in self._shares else share)
            if total > self.budget * _SLACK:
                raise LedgerError(
                    f"share={share:g} of claim {claim_id!r} brings the shares to {total:g}, above "
                    f"budget={self.budget:g}; give each of n claims budget / n, or raise the budget"
                )
            self._shares[claim_id] = share
            self._looks.setdefault(claim_id, set()).add(look)

    def _draw(self, account: _Account, judge: str, confidence: float | None) -> float:
        error = account.error / account.parts if confidence is None else 1 - confidence
        with self._lock:
            drawn = math.fsum(row.error for row in account.drawn)
            if drawn + error > account.error * _SLACK:
                raise LedgerError(_overdrawn(account, judge, error, drawn, confidence))
            row = Draw(account.claim, judge, error, account.look)
            account.drawn.append(row)
            self._draws.append(row)
        return error


def draw(judge: str, confidence: float | None = None) -> float:
    """The error a judge may commit now: a part of the current claim's share, or 0.01 outside any ledger.

    An explicit ``confidence`` draws ``1 - confidence`` instead; inside a claim it comes out of the same share.
    Raises :class:`LedgerError` when the claim has nothing left.
    """
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}")
    account = _CURRENT.get()
    if account is None:
        return 1 - (DEFAULT_CONFIDENCE if confidence is None else confidence)
    return account.ledger._draw(account, judge, confidence)


def next_error() -> float:
    """What :func:`draw` would give the next judge, without drawing it."""
    account = _CURRENT.get()
    return 1 - DEFAULT_CONFIDENCE if account is None else account.error / account.parts


def _overdrawn(account: _Account, judge: str, error: float, drawn: float, confidence: float | None) -> str:
    start = (
        f"claim {account.claim!r} has drawn {drawn:.3g} of its share {account.error:.3g} "
        f"in {len(account.drawn)} verdict(s), and {judge} asks for {error:.3g} more; "
    )
    if confidence is None:
        return start + f"declare parts={len(account.drawn) + 1} or more (it declares parts={account.parts})"
    return start + f"leave out confidence={confidence:g} (the ledger sets it), or give the claim a larger share"


def _probability(name: str, value: float) -> float:
    if isinstance(value, bool) or not 0 < value < 1:
        raise ValueError(f"{name} must be a probability in (0, 1), got {value!r}")
    return float(value)
