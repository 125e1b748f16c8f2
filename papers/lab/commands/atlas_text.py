"""What ``attnlab atlas`` says of operators: a record of facts and costs at given sizes, as table, page and comparison."""

from __future__ import annotations

import ast
import inspect
import math
import operator as operations
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import Operator, Sizes
from attnlab.papers.lab.errors import UsageError, nearest

LETTERS = {
    "permutation": "P", "circular shift": "C", "interior shift": "I", "shift": "S", "rotation": "R", "frame": "F",
    "layout": "L",
}  # fmt: skip
SIZES = {"n": 1024, "d": 64, "d_v": 64, "heads": 4}
FACTS = (
    "name", "family", "kind", "content", "causal", "recurrent", "matrix", "smooth", "rank", "reach", "work", "published",
    "state", "exponent", "n_uniform", "n_max", "row_sum", "n", "d", "d_v", "heads", *(key.replace(" ", "_") for key in LETTERS),
)  # fmt: skip
"""Names that ``--where`` and ``--sort`` know."""


def sizes_of(given: Mapping[str, str]) -> Sizes:
    """Sizes from KEY=VALUE settings; the grid is a square where n is one, else a line."""
    values = dict(SIZES)
    for key, text in given.items():
        if key not in values:
            raise UsageError(f"unknown setting {key!r}{nearest(key, values)}")
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"{key}={text!r} must be a whole number of at least 1")
        values[key] = int(text)
    return _sized(values["n"], values["d"], values["d_v"], values["heads"])


def plain(sizes: Sizes) -> dict[str, int]:
    """The sizes as they are typed."""
    return {"n": sizes.n, "d": sizes.d, "d_v": sizes.d_v, "heads": sizes.n_heads}


def member(name: str) -> tuple[str, Operator]:
    """The member of this name: ``family/name``, the name alone, or either with ``[variant]``; the first variant without."""
    known = members()
    shown = [each for each in known if name in (each, each.partition("[")[0], *_short(each))]
    if not shown:
        every = sorted({short for each in known for short in (each, *_short(each))})
        raise UsageError(f"operator {name!r} is not in the atlas{nearest(name, every)}")
    return shown[0], known[shown[0]]


def record_of(found: tuple[str, Operator], sizes: Sizes) -> dict[str, Any]:
    """Facts and costs of a member at these sizes; what it does not have is None."""
    name, operator = found
    facts, law = operator.facts, _law(operator)
    longer = _sized(4 * sizes.n, sizes.d, sizes.d_v, sizes.n_heads)
    work, more = (_number(law, "multiply_adds", operator, each) for each in (sizes, longer))
    rank = facts.rank(sizes) if facts.rank is not None else None if operator.no_matrix else sizes.n
    return {
        "name": name,
        "family": name.partition("/")[0],
        "kind": operator.kind,
        "summary": _summary(operator),
        "source": operator.source,
        "numbers": {each.name: _plain(getattr(operator, each.name)) for each in fields(operator)},  # type: ignore[arg-type]
        "row_sum": _plain(facts.row_sum(sizes) if callable(facts.row_sum) else facts.row_sum),
        "causal": facts.causal != "none",
        "causal_form": facts.causal,
        "causal_reason": facts.causal_reason or None,
        "content": facts.content,
        "equivariant": sorted(facts.symmetries),
        "rank": rank,
        "reach": facts.reach(sizes) if facts.reach is not None else None,
        "smooth": facts.smooth,
        "n_uniform": facts.n_uniform(sizes) if facts.n_uniform is not None else 0,
        "n_max": facts.n_max,
        "matrix": not operator.no_matrix,
        "no_matrix": operator.no_matrix or None,
        "recurrent": operator.recurrent(),
        "work": work,
        "published": _number(law, "published_multiply_adds", operator, sizes),
        "exponent": round(math.log2(more / work) / 2, 2) if work and more else None,
        "state": _number(law, "state_numbers", operator, sizes),
        "limits": [{"when": limit.when, "other": _name_of(limit.other())} for limit in operator.limits],
        "skips": dict(facts.skips),
    }


def selected(sizes: Sizes, family: str | None, where: str | None, sort: str | None) -> list[dict[str, Any]]:
    """Records of the members that the options leave, in their order."""
    found = members()
    families = sorted({name.partition("/")[0] for name in found})
    if family is not None and family not in families:
        raise UsageError(f"unknown family {family!r}{nearest(family, families)}")
    if sort is not None and sort not in FACTS:
        raise UsageError(f"unknown fact {sort!r}{nearest(sort, FACTS)}")
    keeps = condition(where) if where else lambda row: True
    rows = [record_of(each, sizes) for each in found.items() if family in (None, each[0].partition("/")[0])]
    rows = [row for row in rows if keeps(_values(row, sizes))]
    if sort:
        rows.sort(key=lambda row: _order(_values(row, sizes)[sort]))
    return rows


def condition(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """A filter from an expression of facts: and, or, not, comparisons, arithmetic. No comparison meets an unknown fact."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise UsageError(
            f'--where {text!r} is not an expression; write for example "causal and state <= d * d_v"'
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in FACTS:
            raise UsageError(f"--where: unknown fact {node.id!r}{nearest(node.id, FACTS)}")
    return lambda values: bool(_value(tree, values))


def table(rows: list[dict[str, Any]], sizes: Sizes) -> str:
    """One line per member."""
    lines = [_line("operator", "kind", "causal", "content", "sums", "symm.", "rank", "state", "work/token", "grows")]
    for row in rows:
        letters = "".join(LETTERS[each] for each in LETTERS if each in row["equivariant"])
        lines.append(
            _line(
                row["name"], row["kind"], row["causal_form"], row["content"], _short_number(row["row_sum"]), letters or "-",
                _short_number(row["rank"]), _short_number(row["state"]),
                _short_number(row["work"] and row["work"] / sizes.n), f"n^{row['exponent']:g}" if row["exponent"] else "-",
            )
        )  # fmt: skip
    at = ", ".join(f"{key}={value}" for key, value in plain(sizes).items())
    legend = ", ".join(f"{letter} {word}" for word, letter in LETTERS.items())
    return "\n".join(
        [*lines, "", f"{len(rows)} members at {at}; state: numbers per head a decoder keeps", f"symmetries: {legend}"]
    )


def page(found: tuple[str, Operator], record: Mapping[str, Any]) -> str:
    """One operator: formula and source, its numbers, facts in words, limits, costs, where it stands."""
    name, operator = found
    family = [each for each in members() if each.partition("[")[0] == name.partition("[")[0]]
    lines = [name, "", *_indented(inspect.getdoc(type(operator)) or ""), ""]
    work = "not stated" if record["work"] is None else f"{record['work']:,} multiply-adds"
    work += f", about n^{record['exponent']:g}" if record["exponent"] else ""
    rows = [
        ("numbers", ", ".join(f"{key}={value!r}" for key, value in record["numbers"].items()) or "none"),
        ("variants", ", ".join(family) if len(family) > 1 else ""),
        ("kind", record["kind"]),
        ("row sums", str(record["row_sum"])),
        ("causal", record["causal_form"] + (f": {record['causal_reason']}" if record["causal_reason"] else "")),
        ("the map reads", record["content"]),
        ("equivariant to", ", ".join(record["equivariant"]) or "none of those tested"),
        ("rank", "no map: " + record["no_matrix"] if record["no_matrix"] else f"at most {record['rank']}"),
        ("reach", "all tokens" if record["reach"] is None else f"{record['reach']} tokens in one layer"),
        ("smooth", "yes" if record["smooth"] else "no: it chooses"),
        ("random", f"{record['n_uniform']} uniform numbers per call" if record["n_uniform"] else ""),
        ("length", f"at most {record['n_max']}" if record["n_max"] else ""),
        ("work", work),
        ("as published", f"{record['published']:,} multiply-adds" if record["published"] else ""),
        ("decode state", f"{record['state']:,} numbers per head" if record["state"] else ""),
        ("token by token", "yes" if record["recurrent"] else ""),
    ]  # fmt: skip
    lines += [f"  {key + ':':<16}{value}" for key, value in rows if value]
    lines += [f"  {'is, to rounding:':<16} {each['other']} where {each['when']}" for each in record["limits"]]
    lines += [f"  {'not checked:':<16}{check}: {reason}" for check, reason in record["skips"].items()]
    module = type(operator).__module__.removeprefix("attnlab.kernels.operators.").replace(".", "/")
    law = _law(operator)
    if law is not None:
        lines += ["", f"  laws (theory/{module}.py)"]
        for key, each in vars(law).items():
            if inspect.isfunction(each) and each.__module__ == law.__name__ and key[0] != "_":
                lines += textwrap.wrap(f"{key}: {_first(each)}", 112, initial_indent="    ", subsequent_indent="      ")
    return "\n".join([*lines, "", f"  source: {record['source']}", f"  code: kernels/operators/{module}.py"])


def comparison(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Facts and costs that differ, as pairs."""
    apart = ("summary", "source", "numbers", "limits", "skips", "name")
    return {key: [one[key], other[key]] for key in one if key not in apart and one[key] != other[key]}


def comparison_text(differing: Mapping[str, list[Any]], one: str, other: str) -> str:
    """The same as text."""
    width = max([len(one), *(len(str(_said(a))) for a, _ in differing.values())], default=0)
    lines = [f"{'':<16}{one:<{width}}  {other}"]
    lines += [f"{key:<16}{_said(a)!s:<{width}}  {_said(b)}" for key, (a, b) in differing.items()]
    return "\n".join(lines) if differing else f"{one} and {other} declare and cost the same"


def _sized(n: int, d: int, d_v: int, heads: int) -> Sizes:
    side = math.isqrt(n)
    return Sizes(n=n, d=d, d_v=d_v, n_heads=heads, shape=(side, side) if side * side == n else (1, n))


def _short(name: str) -> tuple[str, str]:
    """The name without its family, with and without its variant."""
    own = name.partition("/")[2]
    return own, own.partition("[")[0]


def _law(operator: Operator) -> Any:
    path = type(operator).__module__.removeprefix("attnlab.kernels.operators.")
    try:
        return import_module(f"attnlab.theory.{path}")
    except ModuleNotFoundError:
        return None


def _number(law: Any, what: str, operator: Operator, sizes: Sizes) -> int | None:
    """A cost of the law at these sizes, or None where it states none, or none for them."""
    if not hasattr(law, what):
        return None
    function = getattr(law, what)
    takes = inspect.signature(function).parameters.values()
    every = any(each.kind is each.VAR_KEYWORD for each in takes)
    taken = {each.name for each in takes}
    numbers = {each.name: getattr(operator, each.name) for each in fields(operator) if every or each.name in taken}  # type: ignore[arg-type]
    try:
        return int(function(sizes, **numbers))
    except ValueError:
        return None


def _name_of(operator: Operator) -> str:
    return type(operator).__module__.removeprefix("attnlab.kernels.operators.").replace(".", "/")


def _summary(operator: Operator) -> str:
    return (inspect.getdoc(type(operator)) or "").split("\n\n")[0].replace("\n", " ")


def _first(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _values(row: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """What expressions may name."""
    found = {key: row.get(key) for key in FACTS} | plain(sizes)
    return found | {key.replace(" ", "_"): key in row["equivariant"] for key in LETTERS}


def _order(value: Any) -> tuple[int, Any]:
    """Numbers before words before what is not known."""
    if value is None:
        return 2, ""
    return (1, value) if isinstance(value, str) else (0, value)


_BINARY = {
    ast.Add: operations.add, ast.Sub: operations.sub, ast.Mult: operations.mul, ast.Div: operations.truediv,
    ast.Pow: operations.pow,
}  # fmt: skip
_COMPARED = {
    ast.Lt: operations.lt, ast.LtE: operations.le, ast.Gt: operations.gt, ast.GtE: operations.ge, ast.Eq: operations.eq,
    ast.NotEq: operations.ne,
}  # fmt: skip


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of an expression; None where a fact is not known, which no comparison meets."""
    if isinstance(node, ast.BoolOp):
        parts = (bool(_value(each, values)) for each in node.values)
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand, values)
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        a, b = _value(node.left, values), _value(node.right, values)
        return None if a is None or b is None else _BINARY[type(node.op)](a, b)
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARED for op in node.ops):
        chain = [_value(each, values) for each in (node.left, *node.comparators)]
        if None in chain:
            return False
        try:
            return all(_COMPARED[type(op)](a, b) for op, a, b in zip(node.ops, chain, chain[1:], strict=False))
        except TypeError:
            raise UsageError(f"--where compares {chain!r}: a number with a word") from None
    raise UsageError(
        f"--where: {ast.unparse(node)!r} is not allowed; use facts, numbers, and, or, not, comparisons, + - * /"
    )


def _line(*cells: str) -> str:
    widths = (54, 9, 7, 10, 10, 6, 7, 8, 10, 7)
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _short_number(value: Any) -> str:
    """A number in five characters, a word as it is."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{value:.4g}"


def _said(value: Any) -> Any:
    """A value in the comparison."""
    if value is None:
        return "-"
    return ", ".join(value) or "-" if isinstance(value, list) else value
