"""Which operators there are: those that lie in the folders beside this file, one per module."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from attnlab.kernels.operators.operator import Operator


@functools.cache
def families() -> tuple[str, ...]:
    """The families: folders of ``kernels/operators/``."""
    home = importlib.import_module("attnlab.kernels.operators")
    return tuple(sorted(each.name for each in pkgutil.iter_modules(home.__path__) if each.ispkg))


@functools.cache
def names() -> tuple[str, ...]:
    """``family/name`` of every operator, sorted."""
    found = []
    for family in families():
        home = importlib.import_module(f"attnlab.kernels.operators.{family}")
        found += [f"{family}/{each.name}" for each in pkgutil.iter_modules(home.__path__) if each.name[0] != "_"]
    return tuple(sorted(found))


def operator_class(name: str) -> type[Operator]:
    """The operator class of ``family/name``: the one that its module defines.

    Errors: ``ValueError`` for an unknown name, or for a module that does not define exactly one public operator.
    """
    if name not in names():
        raise ValueError(f"operator {name!r} is not in the atlas; see attnlab.kernels.operators.listing.names()")
    module = importlib.import_module(f"attnlab.kernels.operators.{name.replace('/', '.')}")
    own = [
        each
        for key, each in vars(module).items()
        if isinstance(each, type)
        and issubclass(each, Operator)
        and each.__module__ == module.__name__
        and key[0] != "_"
    ]
    if len(own) != 1:
        raise ValueError(f"kernels/operators/{name}.py must define one public operator, it defines {len(own)}")
    return own[0]


def members() -> dict[str, Operator]:
    """Every operator with its default numbers; those with ``variants`` appear once per variant, ``family/name[label]``."""
    found: dict[str, Operator] = {}
    for name in names():
        cls = operator_class(name)
        variants = getattr(cls, "variants", None)
        if variants is None:
            found[name] = cls()
        else:
            found |= {f"{name}[{label}]": each for label, each in variants().items()}
    return found
