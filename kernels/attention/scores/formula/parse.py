"""A formula in the logit s, as text, becomes a sympy expression; nothing of the text is ever run as code."""

from __future__ import annotations

import ast

import sympy
from sympy import Abs, Expr, Max, Min, Rational, Symbol, cosh, exp, log, sign, sinh, sqrt, tanh

from attnlab.kernels.suggestions import did_you_mean

#: The logit.
S = Symbol("s", real=True)

#: What a formula may call, beside + - * / and powers with a constant exponent.
FUNCTIONS = {
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "tanh": tanh,
    "sinh": sinh,
    "cosh": cosh,
    "abs": Abs,
    "sign": sign,
    "max": Max,
    "min": Min,
    "expm1": lambda x: exp(x) - 1,
    "log1p": lambda x: log(1 + x),
    "relu": lambda x: Max(x, 0),
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "softplus": lambda x: log(1 + exp(x)),
}
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E}
_OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_TWO = ("max", "min")


class FormulaError(ValueError):
    """A formula that cannot be a score map, with the reason and what to do."""


def parse(text: str) -> Expr:
    """The expression of ``text`` in ``S``; decimal numbers are taken exactly (0.1 is one tenth)."""
    if not isinstance(text, str) or not text.strip():
        raise FormulaError(f"formula={text!r} must be text, such as 'log(1 + exp(s))'")
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval")
    except SyntaxError as error:
        raise FormulaError(f"formula={text!r} cannot be read: {error.msg} at character {error.offset}") from None
    found = _value(tree.body, text)
    if S not in found.free_symbols:
        raise FormulaError(f"formula={text!r} does not contain the logit s; write it in s, such as 'exp(s)'")
    return found


def _value(node: ast.AST, text: str) -> Expr:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Rational(ast.get_source_segment(text.strip().replace("^", "**"), node))
    if isinstance(node, ast.Name):
        return _name(node.id, text)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _value(node.operand, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        right = _value(node.right, text)
        if isinstance(node.op, ast.Div) and right == 0:
            raise FormulaError(f"formula={text!r} divides by zero")
        return _OPERATORS[type(node.op)](_value(node.left, text), right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = _value(node.left, text), _value(node.right, text)
        if not power.is_Rational or abs(power) > 32:
            if base.free_symbols:
                raise FormulaError(
                    f"formula={text!r}: the exponent {power} must be a rational constant from -32 to 32; "
                    "write exp(...) for exponents that depend on s"
                )
            return exp(power * log(base))
        return base**power
    if isinstance(node, ast.Call):
        return _call(node, text)
    known = ", ".join(FUNCTIONS)
    raise FormulaError(
        f"formula={text!r}: {ast.unparse(node)!r} is not part of a formula; use s, numbers, + - * / ** and {known}"
    )


def _name(name: str, text: str) -> Expr:
    if name == "s":
        return S
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise FormulaError(
        f"formula={text!r}: {name!r} is unknown; the logit is called s, and numbers are written out (put a parameter "
        "into the text, such as f'exp({beta} * s)')"
    )


def _call(node: ast.Call, text: str) -> Expr:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    name = name.lower() if name.lower() in FUNCTIONS else name
    if name not in FUNCTIONS:
        hint = did_you_mean(name, FUNCTIONS) or ";"
        raise FormulaError(f"formula={text!r}: there is no function {name!r}{hint} known are {', '.join(FUNCTIONS)}")
    wanted = 2 if name in _TWO else 1
    if len(node.args) != wanted or node.keywords:
        raise FormulaError(
            f"formula={text!r}: {name} takes {wanted} argument{'s' * (wanted > 1)}, got {len(node.args)}"
        )
    return FUNCTIONS[name](*(_value(x, text) for x in node.args))
