"""Deliberate errors in a function of theory, made in its syntax tree: one changed place each.

Kinds: a constant, or a whole result, times 1.02, 1.05 or 1.2; an exponent by 5 % or by one; a sign; a dropped term; a size off
by one; two swapped arguments. Checks of arguments, messages, indices and shapes are left alone: errors there are no errors of
a formula.
"""

from __future__ import annotations
import __future__

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

FACTORS = (1.02, 1.05, 1.2)
_NO_FORMULA = {"range", "arange", "zeros", "ones", "empty", "reshape", "linspace", "isclose", "allclose", "full", "eye"}
_SIZE = ("int",)


@dataclass(frozen=True)
class Mutant:
    """One function with one changed place; ``code`` takes the place of the function's own."""

    module: str
    function: str
    line: int
    operator: str
    what: str
    code: CodeType

    @property
    def name(self) -> str:
        """``theory.subject.file:line function: what``."""
        return f"{self.module.removeprefix('attnlab.')}:{self.line} {self.function}: {self.what}"


def mutants_of(module: ModuleType, executed: set[int] | None = None) -> list[Mutant]:
    """Every mutant of the functions of a module, on the executed lines only if these are given."""
    tree = ast.parse(inspect.getsource(module))
    found = []
    for qualname, node in _functions(tree):
        function = function_of(module, qualname)
        if function is None:
            continue
        for line, operator, what, index, make in _edits(node):
            if executed is not None and line not in executed:
                continue
            code = _compiled(module, node, index, make)
            if code is not None and code.co_freevars == function.__code__.co_freevars:
                found.append(Mutant(module.__name__, qualname, line, operator, what, code))
    return found


def nudged(module: ModuleType, factor: float) -> list[Mutant]:
    """Every function of a module that returns numbers, with all its results times ``factor``."""
    found = []
    for qualname, node in _functions(ast.parse(inspect.getsource(module))):
        function = function_of(module, qualname)
        returns = [n for n in _own_returns(node) if _is_number(node, n.value)]
        if function is None or not returns:
            continue
        changed = copy.deepcopy(node)
        for old in [n for n in _own_returns(changed) if _is_number(changed, n.value)]:
            new = _scaled_return(factor)(old)
            changed = _Replace(old, ast.copy_location(new, old)).visit(changed)
        code = _code(module, changed)
        if code is not None and code.co_freevars == function.__code__.co_freevars:
            found.append(Mutant(module.__name__, qualname, node.lineno, "result", f"results x {factor!r}", code))
    return found


def function_of(module: ModuleType, qualname: str) -> FunctionType | None:
    """The plain function behind a name of a module, under caches, properties and other wrappers; None if there is none."""
    found: Any = module
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    for _ in range(8):
        inner = next(
            (
                getattr(found, name)
                for name in ("__wrapped__", "__func__", "fget", "func", "pyfunc")
                if hasattr(found, name)
            ),
            None,
        )
        if isinstance(found, FunctionType) and not hasattr(found, "__wrapped__"):
            return found
        found = inner
    return None


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name != "__post_init__":
                    yield f"{node.name}.{inner.name}", inner


Edit = tuple[int, str, str, int, Callable[[Any], ast.expr]]


def _edits(function: ast.FunctionDef) -> list[Edit]:
    """(line, operator, what, index of the node in the walk, how to make the new node from a copy of the old)."""
    skipped = _outside_formulas(function)
    sizes = {a.arg for a in function.args.args + function.args.kwonlyargs if _named(a.annotation, _SIZE)}
    edits: list[Edit] = []
    for index, node in enumerate(ast.walk(function)):
        if id(node) in skipped or not hasattr(node, "lineno"):
            continue
        edits += [(node.lineno, operator, what, index, make) for operator, what, make in _of_node(node, sizes)]
    own = {id(node) for node in _own_returns(function)}
    for index, node in enumerate(ast.walk(function)):
        if isinstance(node, ast.Return) and id(node) in own - skipped and _is_number(function, node.value):
            edits += [(node.lineno, "result", f"result x {f:g}", index, _scaled_return(f)) for f in FACTORS]
    return edits


def _of_node(node: ast.AST, sizes: set[str]) -> Iterator[tuple[str, str, Callable[[Any], ast.expr]]]:
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node, sizes)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "sign", f"{_text(node)} without its sign", lambda n: n.operand
    elif isinstance(node, ast.Call):
        if getattr(node.func, "attr", getattr(node.func, "id", "")) == "sqrt" and len(node.args) == 1:
            yield "exponent", f"{_text(node)} to the power .525", lambda n: _power(n.args[0], ast.Constant(0.525))
        first = node.args[:2]
        if len(first) == 2 and all(isinstance(a, ast.Name) for a in first) and ast.dump(first[0]) != ast.dump(first[1]):
            yield "swap", f"first two arguments of {_text(node)} swapped", _swapped


def _of_operation(node: ast.BinOp, sizes: set[str]) -> Iterator[tuple[str, str, Callable[[Any], ast.expr]]]:
    text = _text(node)
    if isinstance(node.op, ast.Pow):
        if not (isinstance(node.right, ast.Constant) and node.right.value == 0):
            yield "exponent", f"exponent of {text} x 1.05", lambda n: _power(n.left, _times(n.right, 1.05))
            yield "exponent", f"exponent of {text} + 1", lambda n: _power(n.left, _plus(n.right, 1))
        if _is_constant(node.left):
            for f in FACTORS:
                yield "constant", f"base of {text} x {f:g}", lambda n, f=f: _with(n, left=_times(n.left, f))  # type: ignore[misc]
        return
    if not isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
        return
    for side in ("left", "right"):
        operand = getattr(node, side)
        if _is_constant(operand):
            for f in FACTORS:
                yield (
                    "constant",
                    f"{operand.value!r} in {text} x {f:g}",
                    lambda n, s=side, f=f: _with(n, **{s: _times(getattr(n, s), f)}),  # type: ignore[misc]
                )
        if isinstance(operand, ast.Name) and operand.id in sizes:
            yield (
                "size",
                f"{operand.id} + 1 for {operand.id} in {text}",
                lambda n, s=side: _with(n, **{s: _plus(getattr(n, s), 1)}),  # type: ignore[misc]
            )
    if isinstance(node.op, (ast.Add, ast.Sub)):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "sign", f"sign turned in {text}", lambda n, op=other: _with(n, op=op)  # type: ignore[misc]
        yield "term", f"{_text(node.right)} dropped from {text}", lambda n: n.left
        if isinstance(node.op, ast.Add):
            yield "term", f"{_text(node.left)} dropped from {text}", lambda n: n.right


def _outside_formulas(function: ast.FunctionDef) -> set[int]:
    """Ids of the nodes that are no part of a formula: checks, messages, indices, shapes, decorators, docstrings, types."""
    skipped: set[int] = set()

    def skip(node: ast.AST | None) -> None:
        if node is not None:
            skipped.update(id(inner) for inner in ast.walk(node))

    for node in [*function.decorator_list, function.args, function.returns]:
        skip(node)
    for node in ast.walk(function):
        if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.FormattedValue)):
            skip(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, (ast.Constant, ast.Call)):
            skip(node)  # docstrings, and calls for their effect: checks
        elif isinstance(node, ast.If) and all(isinstance(inner, ast.Raise) for inner in node.body):
            skip(node.test)
        elif isinstance(node, ast.Subscript):
            skip(node.slice)
        elif isinstance(node, ast.keyword) and node.arg in ("axis", "dtype", "shape", "size", "maxiter"):
            skip(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _NO_FORMULA:
            skip(node)
        elif isinstance(node, ast.AnnAssign):
            skip(node.annotation)
    return skipped


def _compiled(
    module: ModuleType, function: ast.FunctionDef, index: int, make: Callable[[Any], ast.expr]
) -> CodeType | None:
    """The code of the function with the node at ``index`` of its walk replaced."""
    changed = copy.deepcopy(function)
    target = list(ast.walk(changed))[index]
    return _code(module, _Replace(target, ast.copy_location(make(target), target)).visit(changed))


def _code(module: ModuleType, changed: ast.FunctionDef) -> CodeType | None:
    """The code of a function's tree, compiled as if it stood in its module."""
    name, changed.decorator_list = changed.name, []
    tree = ast.fix_missing_locations(ast.Module(body=[changed], type_ignores=[]))
    flags = __future__.annotations.compiler_flag
    scope = dict(vars(module))
    exec(compile(tree, module.__file__ or module.__name__, "exec", flags=flags, dont_inherit=True), scope)
    made = scope[name]
    return made.__code__ if isinstance(made, FunctionType) else None


def _own_returns(function: ast.FunctionDef) -> list[ast.Return]:
    """The return statements of a function, without those of functions inside it."""
    inner = {
        id(n) for f in ast.walk(function) if f is not function and isinstance(f, ast.FunctionDef) for n in ast.walk(f)
    }
    return [n for n in ast.walk(function) if isinstance(n, ast.Return) and id(n) not in inner]


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.AST) -> None:
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.target else self.generic_visit(node)


def _is_number(function: ast.FunctionDef, value: ast.expr | None) -> bool:
    """Whether a returned expression is a number or an array, as far as annotation and form tell."""
    said = "" if function.returns is None else ast.unparse(function.returns)
    if isinstance(value, ast.Constant):  # a constant law; nothing changes a 0
        return bool(value.value) and (type(value.value) is float or (type(value.value) is int and "float" in said))
    if value is None or isinstance(value, (ast.Compare, ast.Dict, ast.List, ast.Lambda, ast.BoolOp)):
        return False
    return any(word in said for word in ("float", "ndarray", "Array")) and "dict" not in said


def _scaled_return(factor: float) -> Callable[[Any], Any]:
    def make(node: ast.Return) -> ast.Return:
        value = node.value
        if isinstance(value, ast.Tuple):
            return ast.Return(ast.Tuple([_times(part, factor) for part in value.elts], ast.Load()))
        # a tuple from another function is scaled part by part, too
        scale = ast.parse(
            f"(lambda r: tuple({factor} * x for x in r) if isinstance(r, tuple) else {factor} * r)", mode="eval"
        )
        return ast.Return(ast.Call(scale.body, [value], []))

    return make


def _swapped(node: ast.Call) -> ast.expr:
    return ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)


def _with(node: ast.BinOp, **parts: Any) -> ast.expr:
    return ast.BinOp(parts.get("left", node.left), parts.get("op", node.op), parts.get("right", node.right))


def _times(node: ast.expr, factor: float) -> ast.expr:
    return ast.BinOp(node, ast.Mult(), ast.Constant(factor))


def _plus(node: ast.expr, by: int) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(by))


def _power(base: ast.expr, exponent: ast.expr) -> ast.expr:
    return ast.BinOp(base, ast.Pow(), exponent)


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value != 0


def _named(annotation: ast.expr | None, names: tuple[str, ...]) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id in names


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 48 else f"{text[:45]}..."
