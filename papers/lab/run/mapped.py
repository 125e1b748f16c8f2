"""Carry out the plan of a map: judge the grid, draw it, and write its data beside the figure."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.commands.doctor import check_device
from attnlab.papers.lab.commands.map_figure import draw
from attnlab.papers.lab.commands.report_text import run_record
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.registry import select
from attnlab.papers.lab.run.address import check_address
from attnlab.papers.lab.run.cluster import Cluster
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.latest import words
from attnlab.papers.lab.run.reproduce import Options, path_of
from attnlab.papers.lab.run.store import Store
from attnlab.papers.lab.run.sweep import grid, parsed_axis, sweep
from attnlab.papers.lab.run.workbench import Workbench

_COLUMNS = (
    "verdict",
    "difference",
    "measured",
    "predicted",
    "margin",
    "n",
    "twin_verdict",
    "resolves",
    "reason",
    "seconds",
)


def carry_out_map(
    plan: dict[str, Any],
    place: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    display: Display | None = None,
    number: int | None = None,
) -> dict[str, Any]:
    """``{"claim", "axes", "points", "files", "caption", "run"}`` of a map; ``plan["over"]`` holds one or two axes."""
    selection = select(plan["targets"])
    if len(selection.claims) != 1 or selection.figures:
        raise UsageError(f"{' '.join(plan['targets'])!r} is not one claim: name it as paper.claim; see `attnlab list`")
    if len(plan["over"]) not in (1, 2):
        raise UsageError(
            f"--over has {len(plan['over'])} axes; give one or two, for example --over dim=3:9:2 noise_std=0.1,0.3,1"
        )
    claim = selection.claims[0]
    if plan["scale"] not in claim.scales:
        raise UsageError(f"{claim.id} is for --scale {' or '.join(claim.scales)}: {claim.why_these_scales}")
    axes = [parsed_axis(token) for token in plan["over"]]
    options = Options(plan["scale"], plan["overrides"], plan["replicas"], plan["seed"])
    device = check_device(plan["device"])
    grid(claim, axes[::-1], plan["overrides"], options)
    check_address(address)
    display = display or Display()
    cluster = None if address is None else Cluster(address, display)
    store, workers = Store(place), workers or os.cpu_count() or 1
    bench = Workbench(store, display, seed=options.seed, device=device, workers=workers, cluster=cluster)
    try:
        run = store.begin_run(plan, number)
        points = sweep(claim, axes[::-1], plan["overrides"], options, bench)
        shown = {"columns": axes[0], "rows": axes[1] if len(axes) == 2 else None}
        plate = draw(claim, shown["columns"], shown["rows"], points, options)
        files = _save(plate, points, place, claim.id, plan)
        status = 3 if any(point["verdict"] == "FAILED" for point in points) else 0
        store.end_run(run, status)
        record = run_record(run, plan, store, bench, status)
    finally:
        display.close()
        bench.close()
        store.close()
    named = {name: axis and {"key": axis.key, "values": list(axis.values)} for name, axis in shown.items()}
    return {"claim": claim.id, "axes": named, "points": points, "files": files, "caption": plate.caption, "run": record}


def _save(plate: Any, points: list[dict[str, Any]], place: Path, claim: str, plan: dict[str, Any]) -> list[str]:
    """The figure and ``..._points.csv``, a row per point; another seed, fixed fields or replicas have a folder of their own."""
    paper, _, name = claim.partition(".")
    differs = dict(plan["overrides"]) | ({"seed": plan["seed"]} if plan["seed"] else {})
    differs |= {"replicas": plan["replicas"]} if plan["replicas"] else {}
    folder = place / "maps" / paper / plan["scale"] / path_of(words(differs))
    keys = list(points[0]["point"])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, *_COLUMNS, "low", "high"])
    for point in points:
        ends = point["interval"] or (None, None)
        writer.writerow([*point["point"].values(), *(point.get(column) for column in _COLUMNS), *ends])
    stem = "_over_".join([name, "_".join(keys[::-1])])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [str(path) for path in plate.save(folder, stem)]
        data = folder / f"{stem}_points.csv"
        write_atomically(data, out.getvalue().encode())
    except OSError as error:
        raise environment_error(error, f"write the map into {folder}") from error
    return [*files, str(data)]
