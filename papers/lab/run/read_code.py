"""What a Python file says, apart from comments and docstrings, and what it imports; remembered by the file's bytes.

Reading the hundred files behind a simulation takes a second, in every process of a run. What was found is kept in one file
of the cache, named by the version of Python, whose parser found it: for the hash of a file's bytes what they say. Such an
entry is true whenever it was made, so that processes may write at once, and one that loses what another wrote only reads
again.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from attnlab.analysis.writing import write_atomically
from attnlab.kernels.compiled.compiler import private_cache

FORMAT = 2
MOST = 8192  # files that are remembered; beyond, those that this process has not read are forgotten
ANY = "*"
LONGEST = 200  # characters of a text that may be the name of a file


class Code(NamedTuple):
    """What a file says.

    ``digest`` is of its code; ``runs`` are modules that it imports; ``holds`` are the names that come from them, each of which
    may be a module of which any attribute may be used. A module with a function ``__getattr__`` of its own ``offers`` names
    from other modules at first use: by name the module, or ``{ANY: ANY}`` where it does not say so in a plain dictionary.
    ``tables`` are the texts that stand in it in full and may be names of data files; those that are count.
    """

    digest: str
    runs: list[str]
    holds: list[str]
    offers: dict[str, str]
    tables: list[str]


_known: dict[str, Code] | None = None
_used: dict[str, Code] = {}


def read_code(path: Path, package: str) -> Code:
    """What the file says; ``package`` is where its relative imports begin."""
    text = path.read_bytes()
    if path.suffix != ".py":  # a compiled extension: its bytes are its code
        return Code(hashlib.sha256(text).hexdigest(), [], [], {}, [])
    key = hashlib.sha256(package.encode() + b"\0" + text).hexdigest()
    found = _used.get(key) or _remembered().get(key)
    if found is None:
        tree = ast.parse(text)
        runs, holds = _imports(tree, package)
        offers, tables = _offers(tree), sorted(_tables(tree))
        digest = hashlib.sha256(ast.dump(_bare(tree)).encode()).hexdigest()
        found = Code(digest, sorted(runs), sorted(holds), offers, tables)
    _used[key] = found
    return found


def remember() -> None:
    """Keep what this process has read for those that come after it. Without a cache that is ours alone: nothing."""
    global _known
    if not _used.keys() - _remembered().keys():
        return
    with contextlib.suppress(OSError):
        path = _file()
        both = {**_read(path), **_used}
        _known = both if len(both) <= MOST else dict(_used)
        content = json.dumps(_known, separators=(",", ":")).encode()
        write_atomically(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _remembered() -> dict[str, Code]:
    global _known
    if _known is None:
        _known = {}
        with contextlib.suppress(OSError):
            _known = _read(_file())
    return _known


def _file() -> Path:
    """Raises ``OSError`` where somebody else could write the file."""
    return private_cache("code") / f"{FORMAT}-{sys.implementation.cache_tag}.code"


def _read(path: Path) -> dict[str, Code]:
    """The entries of a file that is there and whole."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        digest, _, content = path.read_bytes().partition(b"\n")
        if digest == hashlib.sha256(content).hexdigest().encode():
            return {key: Code(*entry) for key, entry in json.loads(content).items()}
    return {}


def _imports(tree: ast.Module, package: str) -> tuple[set[str], set[str]]:
    """Modules that the tree imports anywhere in it, and what it holds of them: of ``from a import b`` a, and a.b."""
    runs: set[str] = set()
    holds: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                home = ".".join([*above, *([home] if home else [])])
            if home:
                runs.add(home)
                holds |= {home if alias.name == "*" else f"{home}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            holds |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                holds.add(node.args[0].value)
    return runs, holds


def _offers(tree: ast.Module) -> dict[str, str]:
    """What a module with its own ``__getattr__`` offers, from its dictionaries of names by module or of modules by name."""
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
        for part in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for target in ast.walk(part)
        if isinstance(target, ast.Name)
    }
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "__getattr__" not in functions | named.keys():
        return {}
    found: dict[str, str] = {}
    for value in named.values():
        if isinstance(value, ast.Dict):
            with contextlib.suppress(ValueError, TypeError):
                for key, content in ast.literal_eval(value).items():
                    if isinstance(content, str):
                        found[key] = content
                    else:
                        found |= dict.fromkeys(content, key)
    plain = all(isinstance(name, str) and isinstance(module, str) for name, module in found.items())
    return found if found and plain else {ANY: ANY}


def _tables(tree: ast.Module) -> set[str]:
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {text for text in texts if 0 < len(text) < LONGEST and text.isprintable() and not text.endswith(".py")}


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            if (
                body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
                and isinstance(body[0].value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
    return tree
