"""What makes two results the same: simulation, fields it reads, seed, code, library versions, instruction set.

The same identity gives the same bits. The identity is a plain record; its SHA-256 is the key of the store.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.papers.lab.run.own_code import imports_of_ours

_parsing = threading.Lock()  # Python's own parser fails now and then when threads use it at once


@dataclass(frozen=True)
class BlockIdentity:
    """Identity of one block of replicas ``first .. first + size - 1`` of a simulation."""

    simulation: str
    fields: dict[str, Any]
    seed: int
    first: int
    size: int
    device: str
    code: str
    platform: dict[str, str]

    def record(self) -> dict[str, Any]:
        """The identity as a JSON-ready record."""
        return {
            "simulation": self.simulation,
            "fields": self.fields,
            "seed": self.seed,
            "first": self.first,
            "size": self.size,
            "device": self.device,
            "code": self.code,
            "platform": self.platform,
        }

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of the record."""
        return hashlib.sha256(canonical(self.record()).encode()).hexdigest()


def canonical(record: Any) -> str:
    """JSON with sorted keys, no spaces and exact floats: equal records give equal text."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def block_identity(simulation: Any, setting: Any, seed: int, block: int, device: str) -> BlockIdentity:
    """The identity of block number ``block`` of ``simulation`` (a decorated simulator function) at ``setting``."""
    fields = {name: getattr(setting, name) for name in sorted(simulation.reads)}
    with _parsing:
        code = code_fingerprint(simulation.module)
    return BlockIdentity(
        simulation.name,
        json.loads(canonical(fields)),
        seed,
        block * simulation.block,
        simulation.block,
        device,
        code,
        platform(device),
    )


def replica_seeds(
    simulation: str, fields: dict[str, Any], seed: int, first: int, size: int
) -> list[np.random.SeedSequence]:
    """``SeedSequence(seed, spawn_key=(simulation, digest of the fields, replica))`` for each replica of a block."""
    words = (*_words(simulation), *_words(canonical(fields)))
    return [np.random.SeedSequence(seed, spawn_key=(*words, replica)) for replica in range(first, first + size)]


@functools.cache
def code_fingerprint(module: str) -> str:
    """SHA-256 of the syntax trees of a module and of everything of ours it imports, without docstrings and comments.

    Ours: attnlab, and what lies beside the module (:mod:`~attnlab.papers.lab.run.own_code`). C sources that lie beside an
    imported package count byte by byte.
    """
    digest = hashlib.sha256()
    seen: set[str] = set()
    queue = [module]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        queue.extend(imports_of_ours(ast.parse(Path(spec.origin).read_text(encoding="utf-8")), name, module))
    for name in sorted(seen):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin)
        digest.update(name.encode() + b"\0" + ast.dump(_bare(ast.parse(path.read_text(encoding="utf-8")))).encode())
        if path.name == "__init__.py":
            for source in sorted(path.parent.glob("*.[ch]")):
                digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


@functools.cache
def platform(device: str) -> dict[str, str]:
    """Library versions and instruction set: whatever may change the bits of a result."""
    import sys

    import torch

    from attnlab.kernels.compiled.compiler import compiler_report

    record = {
        "kernels": compiler_report()["target"] or "torch",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }
    if device.startswith("cuda"):
        record["gpu"] = torch.cuda.get_device_name(device)
        record["cuda"] = str(torch.version.cuda)
    return record


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


def _words(text: str) -> tuple[int, ...]:
    """Four 32-bit words of the text's SHA-256."""
    return tuple(int(w) for w in np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u4"))
