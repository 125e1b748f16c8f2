"""What makes two results the same: simulation, fields it reads, seed, code, library versions, instruction set.

The same identity gives the same bits. The identity is a plain record; its SHA-256 is the key of the store.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import typing
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.papers.lab.run.fingerprint import code_fingerprint
from attnlab.papers.lab.run.machine import platform
from attnlab.simulators.ensemble.setting import field_types


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


def block_identity(
    simulation: Any, setting: Any, seed: int, block: int, device: str, on: dict[str, str] | None = None
) -> BlockIdentity:
    """The identity of block number ``block`` of ``simulation`` (a decorated simulator function) at ``setting``.

    ``on`` is the platform that is expected to run it: this process's own if left out.
    """
    return BlockIdentity(
        simulation.name,
        fields_of(simulation, setting),
        seed,
        block * simulation.block,
        simulation.block,
        device,
        code_fingerprint(*code_roots(simulation, setting)),
        dict(platform(device) if on is None else on),
    )


def replica_seeds(
    simulation: str, fields: dict[str, Any], seed: int, first: int, size: int
) -> list[np.random.SeedSequence]:
    """``SeedSequence(seed, spawn_key=(simulation, digest of the fields, replica))`` for each replica of a block."""
    words = (*_words(simulation), *_words(canonical(fields)))
    return [np.random.SeedSequence(seed, spawn_key=(*words, replica)) for replica in range(first, first + size)]


def code_roots(simulation: Any, setting: Any) -> tuple[str, ...]:
    """The modules from which the code of a simulation is followed: its own, and those that the setting picks by name."""
    picked = simulation.code_of(setting) if getattr(simulation, "code_of", None) else ()
    return (simulation.module, *picked)


def fields_of(simulation: Any, setting: Any) -> dict[str, Any]:
    """The fields of the setting that the simulation reads, as JSON has them.

    A simulation that its module holds under another name than its function's, one of several that a function made, says so.
    """
    types = field_types(type(setting))
    fields = {name: _plain(getattr(setting, name), types.get(name)) for name in sorted(simulation.reads)}
    held = attribute_of(simulation)
    if held not in (None, simulation.function.__name__):
        fields["held as"] = held
    return json.loads(canonical(fields))


def attribute_of(simulation: Any) -> str | None:
    """The name under which the simulation's module holds it: mostly its function's, which may stand for another by now."""
    members = vars(sys.modules.get(simulation.module, object))
    name = simulation.function.__name__
    if members.get(name) is simulation:
        return name
    return next((name for name, each in members.items() if each is simulation), None)


def _plain(value: Any, declared: Any = None) -> Any:
    """A field's value as JSON has it: a setting inside a setting as a record.

    The record says its class unless that is the one that the field is ``declared`` with: two classes may have equal fields.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        try:
            types = field_types(kind)
        except NameError:  # an annotation that only a type checker reads: nothing is declared
            types = {}
        record = {
            field.name: _plain(getattr(value, field.name), types.get(field.name)) for field in dataclasses.fields(value)
        }
        return record if kind is declared else {"class": f"{kind.__module__}.{kind.__qualname__}"} | record
    if isinstance(value, (list, tuple)):
        inner = typing.get_args(declared)
        return [_plain(each, inner[0] if inner else None) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _words(text: str) -> tuple[int, ...]:
    """Four 32-bit words of the text's SHA-256."""
    return tuple(int(w) for w in np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u4"))
