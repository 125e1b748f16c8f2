"""A reviewer's file: verdicts, claim texts, environment and replicas of some claims, judged again without simulating.

A bundle is a zip archive: ``record.json`` (what the run said), ``claims.txt`` (statement, formula, rule of each),
``environment.json``, ``blocks.json`` (what each block is) and ``blocks/N.npz``. Nothing in it is code, and nothing is
unpickled.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.declare import SCALES
from attnlab.papers.lab.errors import ItemError, UsageError, environment_error
from attnlab.papers.lab.plain import as_json
from attnlab.papers.lab.run.blocks import pack, unpack
from attnlab.papers.lab.run.identity import canonical
from attnlab.papers.lab.run.record import lacking
from attnlab.papers.lab.run.workbench import Workbench

FORMAT = 1
PLAN = ("targets", "overrides", "scale", "replicas", "seed", "device")
"""What of a run's record says how it is given again."""


class NotingBench(Workbench):
    """A bench that remembers the blocks it gave: name, fields, seed and place of each, with its arrays."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.given: dict[str, tuple[dict[str, Any], Future]] = {}

    def block(self, simulation: Any, setting: Any, index: int) -> Future:
        """A future of the arrays of a block, noted."""
        what = asked(simulation, setting, self.seed, index)
        future = super().block(simulation, setting, index)
        self.given[canonical(what)] = (what, future)
        return future


class BundleBench(Workbench):
    """A bench that reads a bundle and runs nothing: blocks are known by what was asked, whatever code or machine made them."""

    def __init__(self, bundle: zipfile.ZipFile, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._bundle = bundle
        self._known = {canonical(row["asked"]): row["file"] for row in json.loads(bundle.read("blocks.json"))}

    def block(self, simulation: Any, setting: Any, index: int) -> Future:
        """A future of the arrays of a block of the bundle."""
        ready: Future = Future()
        file = self._known.get(canonical(asked(simulation, setting, self.seed, index)))
        if file is None:
            ready.set_exception(ItemError(f"the bundle has no replicas of {simulation.name} at this setting"))
        else:
            ready.set_result(unpack(self._bundle.read(file)))
        return ready


def asked(simulation: Any, setting: Any, seed: int, index: int) -> dict[str, Any]:
    """What a block is, apart from the code and the machine that made it."""
    fields = {name: getattr(setting, name) for name in sorted(simulation.reads)}
    return {
        "simulation": simulation.name,
        "fields": json.loads(canonical(fields)),
        "seed": seed,
        "first": index * simulation.block,
        "size": simulation.block,
    }


def write_bundle(
    file: Path, result: dict[str, Any], texts: str, environment: dict[str, Any], bench: NotingBench
) -> int:
    """Write the archive; returns the number of blocks in it. The same content gives the same bytes.

    What a simulation could not give is not in it: its claims are FAILED in the record.
    """
    rows, blocks = [], []
    kept = [bench.given[key] for key in sorted(bench.given) if bench.given[key][1].exception() is None]
    for number, (what, future) in enumerate(kept):
        rows.append({"asked": what, "file": f"blocks/{number}.npz"})
        blocks.append(pack(future.result()))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in (
            ("record.json", as_json(result)),
            ("claims.txt", texts),
            ("environment.json", json.dumps(environment | {"format": FORMAT}, indent=1)),
            ("blocks.json", json.dumps(rows, indent=1)),
        ):
            archive.writestr(_entry(name, zipfile.ZIP_DEFLATED), text)
        for row, data in zip(rows, blocks, strict=True):
            archive.writestr(_entry(str(row["file"]), zipfile.ZIP_DEFLATED), data)
    try:
        write_atomically(file, made.getvalue())
    except OSError as error:
        raise environment_error(error, f"write {file}") from error
    return len(rows)


def open_bundle(file: Path) -> zipfile.ZipFile:
    """The archive of a bundle. Raises :class:`UsageError` for a file that is none, is torn, or is of another format."""
    try:
        archive = zipfile.ZipFile(file)
        broken = archive.testzip()
        environment = json.loads(archive.read("environment.json"))
        record, rows = (json.loads(archive.read(name)) for name in ("record.json", "blocks.json"))
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, RuntimeError, EOFError) as error:
        raise UsageError(f"{file} is not a bundle of `attnlab bundle`: {error}") from None
    if broken is not None:
        raise UsageError(f"{file} is damaged: {broken} does not match its checksum")
    written = environment.get("format") if isinstance(environment, dict) else None
    if written != FORMAT:
        raise UsageError(f"{file} has format {written!r}; this attnlab reads {FORMAT}")
    lacks = lacking(record) or _no_plan(record["run"])
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"asked", "file"} <= set(row) for row in rows):
        lacks = lacks or "blocks.json does not say what the blocks are"
    if lacks:
        raise UsageError(f"{file} is not a bundle of `attnlab bundle`: {lacks}")
    return archive


def _no_plan(run: dict[str, Any]) -> str:
    """What is wrong with the plan of a run that a bundle holds, or ``""``."""
    whole = [run.get("seed"), 1 if run.get("replicas") is None else run["replicas"]]
    if not all(isinstance(each, int) and each >= 0 for each in whole):
        return "its seed and replicas are no whole numbers"
    if run.get("scale") not in SCALES or run.get("device") not in ("auto", "cpu", "cuda"):
        return f"its scale is {run.get('scale')!r} and its device {run.get('device')!r}"
    targets, overrides = run.get("targets"), run.get("overrides")
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        return "its targets are no list of names"
    if not isinstance(overrides, dict) or not all(isinstance(each, str) for each in overrides.values()):
        return "its overrides are no texts"
    return ""


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = compression
    return entry
