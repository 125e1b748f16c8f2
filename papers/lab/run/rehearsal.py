"""``--dry-run``: what a run would simulate, and how long that took before. Claims are asked what they want; nothing runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.papers.lab.declare import Claim, Item
from attnlab.papers.lab.errors import ItemError, UsageError
from attnlab.papers.lab.overrides import apply
from attnlab.papers.lab.plain import counted
from attnlab.papers.lab.registry import Selection
from attnlab.papers.lab.run.reproduce import Options
from attnlab.papers.lab.run.workbench import Lab, Workbench

_WORK = ("n_steps", "batch", "n_samples", "n_sequences", "n_draws", "n_test", "n_pairs", "n_context", "dim")
"""Fields with which the time of a block grows about linearly."""


class _Missing(ItemError):
    """A block that is not in the store: the claim goes no further."""


class RehearsalBench(Workbench):
    """A bench that reads the store, notes what is not there, and runs nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.missing: dict[str, tuple[Any, Any]] = {}
        self.there: set[str] = set()

    def _compute(self, simulation: Any, setting: Any, identity: Any, ready: Any) -> None:
        self.missing[identity.key] = (simulation, setting)
        ready.set_exception(_Missing(f"{simulation.name} is not in the store"))


def rehearse(selection: Selection, options: Options, bench: RehearsalBench) -> dict[str, Any]:
    """Blocks to run by simulation with the seconds they are likely to take, and the claims that search instead.

    A claim that simulates again after it has seen results is known only up to its first request.
    """
    searches = 0
    items: list[Item] = [*selection.claims, *selection.figures]
    for item in items:
        if options.scale not in item.scales:
            continue
        if isinstance(item, Claim) and item.forms is not None:
            searches += 1
            continue
        try:
            setting = apply(item.setting.at(options.scale), options.overrides)
            item.function(setting, Lab(bench, options.scale, options.replicas))
        except _Missing:
            continue
        except UsageError:
            raise
        except Exception:
            continue  # a claim that cannot go on with what is there: what it asked for is noted
    rows: dict[str, dict[str, Any]] = {}
    for simulation, setting in bench.missing.values():
        row = rows.setdefault(
            simulation.name, {"simulation": simulation.name, "blocks": 0, "seconds": 0.0, "unknown": 0}
        )
        row["blocks"] += 1
        seconds = likely_seconds(simulation, setting, bench.store.seconds_of(simulation.name))
        row["unknown" if seconds is None else "seconds"] += 1 if seconds is None else seconds
    return {"simulations": list(rows.values()), "searches": searches}


def likely_seconds(simulation: Any, setting: Any, known: Sequence[tuple[Mapping[str, Any], float]]) -> float | None:
    """The median over kept blocks of their seconds, scaled by the sizes in which they differ; None if there are none."""
    fields = [name for name in _WORK if name in simulation.reads and isinstance(getattr(setting, name), (int, float))]
    found = []
    for values, seconds in known:
        ratio = 1.0
        for name in fields:
            before = values.get(name)
            if isinstance(before, (int, float)) and before > 0:
                ratio *= getattr(setting, name) / before
        found.append((abs(math.log(ratio)) if ratio > 0 else math.inf, seconds * ratio))
    if not found:
        return None
    nearest = min(distance for distance, _ in found)
    return statistics.median(seconds for distance, seconds in found if distance <= nearest + 1e-9)


def text(result: Mapping[str, Any], workers: int) -> str:
    """One line per simulation, and the sum over workers."""
    rows = result["simulations"]
    lines = []
    for row in rows:
        took = f"about {row['seconds']:.0f} core-seconds" if row["blocks"] > row["unknown"] else "never measured here"
        more = f", {row['unknown']} of them never measured here" if 0 < row["unknown"] < row["blocks"] else ""
        lines.append(f"{row['simulation']:<46} {row['blocks']:>4} blocks  {took}{more}")
    total = sum(row["seconds"] for row in rows)
    blocks, unknown = (sum(row[name] for row in rows) for name in ("blocks", "unknown"))
    if result["searches"]:
        are = "is" if result["searches"] == 1 else "are"
        said = f"{counted(result['searches'], 'claim')} about all inputs {are} searched or proved in this process"
        lines.append(f"{said}; how long that takes is not kept")
    if not blocks:
        lines.append("nothing to simulate: everything is in the store")
    else:
        known = f"about {total / workers:.0f} s on {counted(workers, 'worker')}" if total else "no time is known yet"
        were = "was" if unknown == 1 else "were"
        never = f"; {counted(unknown, 'block')} {were} never measured" if unknown else ""
        lines.append(f"{counted(blocks, 'block')} to run, {known}{never}")
    return "\n".join(lines)
