r"""The check of a new map at its definition: the code that will run against the formula's exact values, logit by logit.

Every value f, g and their first two derivatives, at the row's own level and at a higher one, in float32 and float64, must be
within n eps (\|v\| (1 + \|E\|) + \|s v'\|) of the formula's: n counts the roundings of the code (``emit.n_operations``),
1 + \|E\| the rounding of the exponent, \|s v'\| that of the logit.
A formula whose own code loses digits to cancellation is refused.
"""

from __future__ import annotations

import mpmath
import numpy as np
import sympy
import torch

from attnlab.kernels.attention.scores.formula import emit
from attnlab.kernels.attention.scores.formula.derive import NAMES, Form, Piece
from attnlab.kernels.attention.scores.formula.map import FormulaMap
from attnlab.kernels.attention.scores.formula.parse import FormulaError, S
from attnlab.kernels.attention.scores.formula.values import exact_value, grid

LARGEST = 1e9  # logits up to here must not overflow
_BOUND = 80  # largest exponent of an exponential that stays as it is


def examine(score: FormulaMap) -> None:
    """Raise ``FormulaError`` with the reason if the map's code is not right everywhere."""
    try:
        form = score._made.form
        _slopes_stay_bounded(form)
        _exponents_stay_bounded(score, form)
        breaks = [float(p.interval.low) for p in form.pieces[1:]]
        logits = [float(np.float32(float(x))) for x in grid(breaks)]
        logits = sorted({x for x in logits if x not in breaks})
        exact = _exact(form, logits)
        for dtype in (torch.float64, torch.float32):
            _finite(score, dtype)
            _accurate(score, form, logits, exact, dtype)
    except FormulaError as error:
        if str(error).startswith("score_map("):
            raise
        raise FormulaError(f"score_map({score.formula!r}, divide={score.divide!r}): {error}") from None


def _piece_at(form: Form, s: float) -> Piece:
    return next(p for p in form.pieces if s <= p.interval.high)


def _exact(form: Form, logits: list[float]) -> dict[float, dict]:
    """Value and condition s v' of every quantity."""
    third = {id(p): sympy.diff(p.exact[f"{x}2"], S) for p in form.pieces for x in ("f",)}
    found = {}
    for s in logits:
        piece = _piece_at(form, s)
        v = {name: exact_value(piece.exact[name], s) for name in NAMES}
        v["f3"] = exact_value(third[id(piece)], s)
        v["g3"] = exact_value(sympy.diff(piece.exact["g2"], S), s) if piece.exact["g"] != piece.exact["f"] else v["f3"]
        found[s] = v
    return found


def _accurate(score: FormulaMap, form: Form, logits: list[float], exact: dict, dtype: torch.dtype) -> None:
    s = torch.tensor(logits, dtype=dtype)[:, None]
    own = score.level(s, torch.ones_like(s, dtype=torch.bool))
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    steps = emit.n_operations(form)
    for m in (own, own * 4 if form.kind == "homogeneous" else own + (5 if form.kind == "exponential" else 0)):
        f, g = score.f(s, m), score.g(s, m)
        f1, f2, g1, g2 = score.derivatives(s, m)
        table = dict(zip(NAMES, (f, f1, f2, g, g1, g2), strict=True))
        for i, x in enumerate(logits):
            factor = _factor(form, m[i].item())
            size = abs(float(_piece_at(form, x).exponent.subs(S, x))) if _exponential(form, x) else 0.0
            for name in NAMES:
                true = exact[x][name] * factor
                slope = exact[x][name[0] + str(int(name[1:] or 0) + 1)] * factor * x
                allowed = steps * eps * (abs(true) * (1 + size) + abs(slope)) + tiny * 1e3
                got = table[name][i].item()
                if not abs(got - true) <= allowed:
                    off = float(abs(got - true) / (abs(true) + tiny) / eps)
                    raise FormulaError(
                        f"{_primed(name)} loses its digits at s = {x:.6g} in {str(dtype)[6:]}: {got:.6g} instead of "
                        f"{mpmath.nstr(true, 6)} (divided by the row's common factor), off by {off:.1g} roundings, where {steps} "
                        "are allowed: terms cancel there; write it without the difference, or with expm1, log1p, tanh"
                    )


def _primed(name: str) -> str:
    """f'' for f2."""
    return name[0] + "'" * int(name[1:] or 0)


def _exponential(form: Form, s: float) -> bool:
    return form.kind == "exponential" and _piece_at(form, s).exponent is not None


def _factor(form: Form, m: float):
    """One over the row's common factor, exactly."""
    with mpmath.workdps(60):
        if form.kind == "exponential":
            return mpmath.exp(-mpmath.mpf(m))
        return mpmath.mpf(m) ** -mpmath.mpf(sympy.N(form.power, 60)) if form.kind == "homogeneous" else mpmath.mpf(1)


def _finite(score: FormulaMap, dtype: torch.dtype) -> None:
    s = torch.tensor([x * sign for x in (1e4, 1e6, LARGEST) for sign in (1, -1)], dtype=dtype)[:, None]
    m = score.level(s, torch.ones_like(s, dtype=torch.bool))
    for name, x in zip(
        ("f", "g", "f'", "f''", "g'", "g''"), (score.f(s, m), score.g(s, m), *score.derivatives(s, m)), strict=True
    ):
        bad = ~torch.isfinite(x)
        if bad.any():
            at = s[bad][0].item()
            raise FormulaError(
                f"{name} overflows {str(dtype)[6:]} at s = {at:g} and has no common factor that could be taken out; maps that "
                "grow like a power must be multiples of one power (relu(s)**p, abs(s)**p) or grow more slowly"
            )


def _slopes_stay_bounded(form: Form) -> None:
    for piece in form.pieces:
        for end, side in ((piece.interval.low, 1), (piece.interval.high, -1)):
            if abs(end) == sympy.oo:
                continue
            b = mpmath.mpf(end.p) / end.q
            for name in NAMES:
                with mpmath.workdps(80):
                    near, far = (abs(exact_value(piece.exact[name], b + side * mpmath.mpf(10) ** -k)) for k in (20, 6))
                if near > 1000 * (1 + far):
                    order = {"": "value", "1": "slope", "2": "second derivative"}[name[1:]]
                    raise FormulaError(
                        f"the {order} of {name[0]} is infinite at s = {float(end):g}; "
                        "derivatives up to the second must stay bounded"
                    )


def _exponents_stay_bounded(score: FormulaMap, form: Form) -> None:
    for piece in form.pieces:
        for node in sympy.preorder_traversal(piece.exact["f"] + piece.exact["g"]):
            if not isinstance(node, sympy.exp) or node.args[0].is_polynomial(S):
                continue
            worst = max(
                piece.interval.points(), key=lambda x, e=node.args[0]: abs(exact_value(e, x)) if abs(x) < 1000 else 0
            )
            if abs(exact_value(node.args[0], worst)) > _BOUND:
                raise FormulaError(
                    f"exp({node.args[0]}) reaches exponents beyond {_BOUND} at s = {mpmath.nstr(worst, 4)}, and only "
                    "exponents that are polynomials in s can be stabilised"
                )
