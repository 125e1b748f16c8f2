"""The form of a map as code: lines for C, Triton and torch from one printer, with shared parts computed once."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sympy
from sympy import Expr, Integer

from attnlab.kernels.attention.scores.formula.derive import NAMES, Form, Piece
from attnlab.kernels.attention.scores.formula.parse import S
from attnlab.kernels.attention.scores.formula.stable import Bounded, Log1pOver, M, Root, T, X

_NUMBER = re.compile(r"(\(real\))?\(?-?[\d.]+(e[+-]?\d+)?\)?")


@dataclass(frozen=True)
class Dialect:
    """How a language writes numbers, calls and choices."""

    number: str  # format of a number
    whole: str  # a format that makes a vector of a number
    let: str  # format of a definition
    names: dict[str, str]

    def literal(self, x: Expr) -> str:
        if x == -sympy.oo:
            return self.names["lowest"]
        value = float(x)
        return self.number.format(repr(value) if value >= 0 else f"({value!r})")

    def call(self, name: str, *args: str) -> str:
        return f"{self.names[name]}({', '.join(args)})"


C = Dialect(
    number="(real){}",
    whole="splat({})",
    let="    const vec {} = {};",
    names={
        "exp": "vexp",
        "abs": "vabs",
        "pick": "pick",
        "power": "power_of",
        "log1p_over": "log1p_over",
        "log1p_over_unit": "log1p_over_unit",
        "sqrt": "sqrt_of",
        "root": "root_of",
        "max": "vmax",
        "lowest": "-INFINITY",
    },
)
TRITON = Dialect(
    number="{}",
    whole="(s * 0.0 + {})",
    let="    {} = {}",
    names={
        "exp": "tl.exp",
        "abs": "tl.abs",
        "pick": "tl.where",
        "power": "power_of",
        "log1p_over": "log1p_over",
        "log1p_over_unit": "log1p_over",
        "sqrt": "tl.sqrt",
        "root": "root_of",
        "difference": "one_minus_exp",
        "max": "tl.maximum",
        "lowest": 'float("-inf")',
    },
)
TORCH = Dialect(
    number="{}",
    whole="torch.full_like(s, {})",
    let="    {} = {}",
    names={
        "exp": "torch.exp",
        "abs": "torch.abs",
        "pick": "torch.where",
        "power": "torch.pow",
        "log1p_over": "log1p_over",
        "log1p_over_unit": "log1p_over",
        "sqrt": "torch.sqrt",
        "root": "torch.pow",
        "difference": "one_minus_exp",
        "max": "torch.maximum",
        "lowest": '-float("inf")',
    },
)


def text(e: Expr, to: Dialect) -> str:
    """One expression, in brackets where a product needs them."""
    if e.is_Symbol:
        return e.name
    if e.is_number:
        return to.literal(e)
    if e.is_Add:
        out = ""
        for term in e.as_ordered_terms():
            negative = term.could_extract_minus_sign()
            part = text(-term if negative else term, to)
            out += (" - " if negative else " + ") + part if out else f"-{part}" if negative else part
        return f"({out})"
    if e.is_Mul:
        num, den = sympy.fraction(e)
        if den != 1:
            return f"({text(num, to)} / {text(den, to)})"
        return "(" + " * ".join(text(x, to) for x in e.as_ordered_factors()) + ")"
    if e.is_Pow and e.exp.is_Integer:
        n = int(e.exp)
        if n < 0:
            return f"({to.literal(Integer(1))} / {text(e.base**-n, to)})"
        base = text(e.base, to)
        return f"({base} * {base})" if n == 2 else to.call("power", base, str(n))
    if isinstance(e, Log1pOver):
        unit = e.args[0].as_powers_dict().keys() == {T}  # between 0 and 1
        return to.call("log1p_over_unit" if unit else "log1p_over", text(e.args[0], to))
    if isinstance(e, Root):
        return _root(*e.args, to)
    if isinstance(e, Bounded):
        return to.call("exp", text(e.args[0], to))
    raise TypeError(f"no code for {e!r}")


def _root(x: Expr, p: Expr, to: Dialect) -> str:
    if abs(p) == sympy.Rational(1, 2):
        root = to.call("sqrt", text(x, to))
        return root if p > 0 else f"({to.literal(Integer(1))} / {root})"
    return to.call("root", text(x, to), repr(float(p)))


def merged(values: list[str], form: Form, to: Dialect) -> str:
    """The value of the interval that s lies in; a break belongs to the interval on its left."""
    out = values[0]
    for piece, value in zip(form.pieces[1:], values[1:], strict=True):
        if value != out:
            at = to.literal(piece.interval.low) if piece.interval.low != 0 else "0"
            out = to.call("pick", f"s > {at}", whole(value, to), whole(out, to))
    return out


def whole(value: str, to: Dialect) -> str:
    """A vector, also of a number."""
    return to.whole.format(value) if _NUMBER.fullmatch(value) or value == to.names["lowest"] else value


def exponent(form: Form, to: Dialect) -> str:
    """E(s)."""
    found = [-sympy.oo if piece.exponent is None else piece.exponent for piece in form.pieces]
    if form.kind == "homogeneous":
        found = [Integer(0) if piece.exponent is None else S * piece.interval.side for piece in form.pieces]
    return whole(merged([text(e, to) for e in found], form, to), to)


def body(form: Form, names: tuple[str, ...], to: Dialect) -> tuple[list[str], dict[str, str]]:
    """Lines that compute R of the named quantities at s and m, and the value of each, divided by the row's common factor."""
    table = [{name: piece.rest[name] for name in names} for piece in form.pieces]
    flat = [e for row in table for e in row.values()]
    shared, reduced = sympy.cse(flat, symbols=sympy.numbered_symbols("c"), order="canonical")
    used = set().union(*(e.free_symbols for e in [*(e for _, e in shared), *reduced])) or set()
    lines = _start(form, used, to) + [to.let.format(name, whole(text(e, to), to)) for name, e in shared]
    if form.kind == "exponential":
        lines.append(to.let.format("rise", to.call("exp", "exponent(s) - m")))
    values, it = {}, iter(reduced)
    rows = [{name: next(it) for name in row} for row in table]
    for name in names:
        value = whole(merged([text(row[name], to) for row in rows], form, to), to)
        if name in ("f", "g") and form.divides | (name == "f") and _forgets_nan(form, name):
            value = to.call("pick", "s == s", value, "s")
        if form.at_zero.get(name) is not None:
            at = to.whole.format(to.literal(form.at_zero[name]))
            value = to.call("pick", "s == 0", at, value)
        factor = _factor(form, name)
        if value == whole(to.literal(Integer(1)), to) and factor == " * rise":
            values[name] = "rise"
        elif value == whole(to.literal(Integer(0)), to):
            values[name] = value
        else:
            values[name] = value + factor
    return lines, values


def _forgets_nan(form: Form, name: str) -> bool:
    """Whether the value on the left of all breaks, where comparisons put NaN, is a number that does not contain s."""
    first = form.pieces[0]
    moves = form.kind == "exponential" and first.exponent is not None and first.exponent.has(S)
    return first.rest[name].is_number and not moves


def _factor(form: Form, name: str) -> str:
    if form.kind == "exponential":
        return " * rise"
    if form.kind == "homogeneous":
        return {"": "", "1": " / m", "2": " / (m * m)"}[name[1:]]
    return ""


def _start(form: Form, used: set, to: Dialect) -> list[str]:
    """x, T, M and W, as far as they are used."""
    wild = {piece.decays: piece.wild for piece in form.pieces if piece.wild is not None and piece.decays in used}
    needs_t = T in used or M in used
    lines = []
    if X in used or needs_t or wild:
        lines.append(to.let.format("x", to.call("abs", "s") + (" / m" if form.kind == "homogeneous" else "")))
    if needs_t:
        rate = "x" if form.q == 1 else f"{to.literal(form.q)} * x"
        if M in used and to is C:
            lines += ["    vec M;", to.let.format("T", f"exp_and_difference({rate}, &M)")]
        else:
            lines.append(to.let.format("T", to.call("exp", f"-{rate}" if form.q == 1 else f"-({rate})")))
            if M in used:
                lines.append(to.let.format("M", to.call("difference", rate, "T")))
    for symbol, p in wild.items():
        lines.append(to.let.format(symbol.name, to.call("exp", f"-{text(sympy.horner(p), to)}")))
    return lines


def c_header(form: Form, divide: str) -> str:
    """``formula.h``: level, constant and map of score_maps.h. ``t->parameter`` is log c with an exponential level, else c."""
    lines, values = body(form, NAMES, C)
    known: dict[str, str] = {}
    for name in NAMES:
        value = values[name]
        lines.append(f"    r.{name} = {known.get(value, value)};")
        known.setdefault(value, f"r.{name}")
    start, end, constant, log = _c_level(form, divide)
    return "\n".join(
        [
            f"INLINE vec exponent(vec s) {{ return {exponent(form, C)}; }}" if form.kind != "none" else "",
            f"INLINE vec level_start(const task *t) {{ (void)t; return {start}; }}",
            "INLINE vec level_next(vec m, vec s) { (void)s; return "
            + ("m" if form.kind == "none" else "vmax(exponent(s), m)")
            + "; }",
            f"INLINE vec level_end(vec m) {{ return {end}; }}",
            "INLINE vec constant(const task *t, vec m, vec n_visible) {",
            f"    (void)t, (void)m, (void)n_visible;\n    return {constant};\n}}",
            f"INLINE vec log_level(const task *t, vec m) {{ (void)t, (void)m; return {log}; }}",
            "INLINE terms map(const task *t, vec s, vec m, int order) {",
            "    terms r;",
            "    (void)t, (void)m, (void)order;",
            *lines,
            "    return r;",
            "}",
            "",
        ]
    )


def _c_level(form: Form, divide: str) -> tuple[str, str, str, str]:
    parameter = "(real)t->parameter"
    if form.kind == "exponential":
        start, end, log = f"splat({parameter})", "pick(m > -INFINITY, m, splat(0))", "m"
        return start, end, f"vexp(splat({parameter}) - m)", log
    if form.kind == "homogeneous":
        p = form.power
        power = f"power_of(m, {p})" if p.is_Integer else f"root_of(m, {float(p)!r})"
        return (
            "splat(t->parameter > 0 ? 1 : 0)",
            "pick(m > 0, m, splat(1))",
            f"{parameter} / {power}",
            f"(real){float(p)!r} * vlog(m)",
        )
    constant = {"count": "n_visible", "one": "splat(1)"}.get(divide, f"splat({parameter})")
    return "splat(0)", "m", constant, "splat(0)"


def triton_module(form: Form, divide: str) -> str:
    """The functions of ``gpu/maps.py`` for this map, as the text of a module."""
    head = '"""Made from a formula."""\nfrom attnlab.kernels.attention.gpu.jit import jit, tl\n'
    head += "from attnlab.kernels.attention.gpu.maps import log1p_over, one_minus_exp, power_of, root_of\n\n"
    out = [head]

    def function(signature: str, *lines: str) -> None:
        out.append("\n".join(["@jit", f"def {signature}:", *lines, ""]) + "\n")

    for name, wanted in (("numerators", ("f", "g")), ("slopes", ("f1", "g1"))):
        lines, values = body(form, wanted, TRITON)
        lines += [
            f"    {x} = {values[x]}"
            if values[x] != values.get(wanted[0]) or x == wanted[0]
            else f"    {x} = {wanted[0]}"
            for x in wanted
        ]
        function(f"{name}(s, m, MAP: tl.constexpr, P: tl.constexpr)", *lines, f"    return {', '.join(wanted)}")
    function("exponent(s)", f"    return {exponent(form, TRITON)}" if form.kind != "none" else "    return s * 0.0")
    for name, signature, value in _triton_level(form, divide):
        function(f"{name}({signature})", f"    return {value}")
    return "\n".join(out)


def _triton_level(form: Form, divide: str) -> list[tuple[str, str, str]]:
    p = form.power

    def power(x: str) -> str:
        return f"power_of({x}, {p})" if p.is_Integer else f"root_of({x}, {float(p)!r})"

    if form.kind == "exponential":
        start, lowest, level, log = "zero + parameter", '-float("inf")', 'tl.where(m > float("-inf"), m, 0.0)', "m"
        lowest = 'float("-inf")'
        rescale = 'tl.where(m > float("-inf"), tl.exp(level(m, MAP) - level(m_new, MAP)), 0.0)'
        constant = "tl.exp(parameter - safe)"
    elif form.kind == "homogeneous":
        start, lowest, level = "zero + tl.where(parameter > 0, 1.0, 0.0)", "0.0", "tl.where(m > 0, m, 1.0)"
        log, rescale = f"{float(p)!r} * tl.log(m)", power("m / level(m_new, MAP)")
        constant = f"parameter / {power('safe')}"
    else:
        start, lowest, level, log, rescale = "zero", "", "m", "m * 0.0", "m * 0.0 + 1.0"
        constant = {"count": "count", "one": "count * 0.0 + 1.0"}.get(divide, "count * 0.0 + parameter")
    risen = f"tl.maximum(m, tl.max(tl.where(visible, exponent(s), {lowest}), 1))" if form.kind != "none" else "m"
    return [
        ("level_start", "zero, parameter, MAP: tl.constexpr", start),
        ("level_next", "m, s, visible, MAP: tl.constexpr", risen),
        ("level", "m, MAP: tl.constexpr", level),
        ("log_level", "m, MAP: tl.constexpr, P: tl.constexpr", log),
        ("rescale", "m, m_new, MAP: tl.constexpr, P: tl.constexpr", rescale),
        ("constant", "parameter, safe, count, MAP: tl.constexpr", constant),
    ]


def n_operations(form: Form) -> int:
    """Roundings of the longest value: operations, four for every function, and the size of a bounded exponent."""

    def cost(e: Expr) -> int:
        own = {Log1pOver: 6, Root: 6, Bounded: 90}.get(type(e), 0)
        if e.is_Pow:
            own = abs(int(e.exp)) if e.exp.is_Integer else 6
        elif e in (T, M) or e.name[:1] == "W" if e.is_Symbol else False:
            own = 4
        elif e.is_Add or e.is_Mul:
            own = len(e.args)
        return own + sum(map(cost, e.args))

    return 8 + max(cost(e) for piece in form.pieces for e in piece.rest.values())


def torch_source(form: Form) -> str:
    """Source of R on every interval, ``f_i``, ``g_i`` and ``slopes_i`` of (s, m), and of its exponent ``e_i`` of s."""
    out = []
    for i, piece in enumerate(form.pieces):
        for name, wanted in (("f", ("f",)), ("g", ("g",)), ("slopes", ("f1", "f2", "g1", "g2"))):
            lines, values = _torch_lines(form, piece, wanted)
            out.append(f"def {name}_{i}(s, m):\n" + "\n".join([*lines, f"    return {', '.join(values)}", ""]))
        e = -sympy.oo if piece.exponent is None else piece.exponent
        if form.kind == "homogeneous" and piece.exponent is not None:
            e = S * piece.interval.side
        out.append(f"def e_{i}(s):\n    return {whole(text(e, TORCH), TORCH)}\n")
    return "\n".join(out)


def _torch_lines(form: Form, piece: Piece, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    shared, reduced = sympy.cse(
        [piece.rest[name] for name in names], symbols=sympy.numbered_symbols("c"), order="canonical"
    )
    used = set().union(*(e.free_symbols for e in [*(e for _, e in shared), *reduced]))
    lines = _start(Form(form.kind, form.power, form.q, (piece,), {}, form.divides), used, TORCH)
    if lines:  # |s| by its sign: the slope of abs is zero at zero
        lines[0] = lines[0].replace("torch.abs(s)", "s" if piece.interval.side > 0 else "(-s)")
    lines += [TORCH.let.format(name, whole(text(e, TORCH), TORCH)) for name, e in shared]
    return lines, [whole(text(e, TORCH), TORCH) for e in reduced]
