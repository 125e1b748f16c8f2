"""Every public signature of kernels/ and simulators/ is annotated: what mypy has no setting for."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRITON = {"triton.jit", "jit"}
"""Decorators of Triton code: its arguments are pointers and numbers of the compiled program, for which Python has no types."""


OPERATOR = ROOT / "kernels" / "operators" / "operator.py"


def protocol():
    """The methods of ``Operator``: a member of the atlas that repeats one need not repeat its types, which stand there."""
    classes = {
        node.name: node for node in ast.parse(OPERATOR.read_text(encoding="utf-8")).body if hasattr(node, "name")
    }
    return {node.name for node in classes["Operator"].body if isinstance(node, ast.FunctionDef)}


def is_public(name):
    """Whether others may use the name; of the special methods, those that callers spell by calling the object."""
    return not name.startswith("_") or name in ("__init__", "__call__")


def in_view(body):
    """The statements of a module or class, also those within ``if`` and ``try``, but not those within functions."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            handlers = [each for handler in getattr(node, "handlers", ()) for each in handler.body]
            yield from in_view([*node.body, *handlers, *node.orelse, *getattr(node, "finalbody", ())])


def unannotated(text, known=()):
    """Public functions, methods and class attributes of a file whose annotation is not complete, with what lacks.

    ``known``: methods whose types stand elsewhere.
    """

    def of_function(node, owner):
        decorators = {ast.unparse(each) for each in node.decorator_list}
        if decorators & TRITON:
            return
        args = [*node.args.posonlyargs, *node.args.args]
        args = args[1:] if owner and "staticmethod" not in decorators else args
        args += [*node.args.kwonlyargs, *(each for each in (node.args.vararg, node.args.kwarg) if each)]
        lacking = [each.arg for each in args if each.annotation is None]
        lacking += ["return"] if node.returns is None else []
        if lacking:
            yield f"{owner}{node.name}: {', '.join(lacking)}"

    def of_body(body, owner=""):
        for node in in_view(body):
            if isinstance(node, ast.FunctionDef) and is_public(node.name) and not (owner and node.name in known):
                yield from of_function(node, owner)
            elif isinstance(node, ast.ClassDef) and is_public(node.name):
                yield from of_body(node.body, f"{owner}{node.name}.")
            elif isinstance(node, ast.Assign) and owner:
                names = [each.id for each in node.targets if isinstance(each, ast.Name)]
                yield from (f"{owner}{name}: class attribute" for name in names if is_public(name))

    return list(of_body(ast.parse(text).body))


@pytest.mark.parametrize("folder", ["kernels", "simulators"])
def test_every_public_signature_is_annotated(folder):
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        known = protocol() if OPERATOR.parent in path.parents and path != OPERATOR else ()
        if lacking := unannotated(path.read_text(encoding="utf-8"), known):
            found[str(path.relative_to(ROOT))] = lacking
    assert not found, "annotate what callers see"


@pytest.mark.parametrize(
    "text, found",
    [
        ("def f(x: int) -> int: ...", []),
        ("def f(x) -> int: ...", ["f: x"]),
        ("def f(x: int): ...", ["f: return"]),
        ("def f(*, y, **rest: int) -> int: ...", ["f: y"]),
        ("def f(*all) -> int: ...", ["f: all"]),
        ("def _f(x): ...", []),
        ("def f() -> int:\n    def inner(x): ...", []),
        ("try:\n    import a\nexcept ImportError:\n    def f(x): ...", ["f: x, return"]),
        ("class A:\n    def m(self, x) -> int: ...", ["A.m: x"]),
        ("class A:\n    @staticmethod\n    def m(x) -> int: ...", ["A.m: x"]),
        ("class A:\n    def __init__(self): ...", ["A.__init__: return"]),
        ("class A:\n    def __repr__(self): ...", []),
        ("class A:\n    name = 'a'\n    _own = 1\n    n: int = 0", ["A.name: class attribute"]),
        ("class _A:\n    name = 'a'", []),
        ("@triton.jit\ndef kernel(pointer, n): ...", []),
        ("@functools.cache\ndef f(x): ...", ["f: x, return"]),
    ],
)
def test_the_check_sees_what_lacks_and_nothing_else(text, found):
    assert unannotated(text) == found


def test_only_a_member_may_leave_the_types_to_the_protocol():
    assert {"apply", "matrix", "initialise"} <= protocol() and "checked" not in protocol()
    text = "class A(Operator):\n    def apply(self, inputs): ...\n    def other(self, x) -> int: ..."
    assert unannotated(text, protocol()) == ["A.other: x"]
