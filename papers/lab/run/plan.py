"""Carry out a plan, the plain record of what a run was asked for: the same for the command line, ``resume`` and Python."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnlab.kernels.compiled.compiler import working_target
from attnlab.papers.lab.commands.doctor import check_device
from attnlab.papers.lab.commands.report_text import run_record
from attnlab.papers.lab.registry import Selection, select
from attnlab.papers.lab.run.cluster import Cluster
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.fingerprint import code_fingerprint
from attnlab.papers.lab.run.record import write_record
from attnlab.papers.lab.run.reproduce import Options, exit_status, prepare, reproduce
from attnlab.papers.lab.run.store import Store
from attnlab.papers.lab.run.workbench import Runs, Workbench

log = logging.getLogger("attnlab")
log.addHandler(logging.NullHandler())


def carry_out(
    plan: dict[str, Any],
    place: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    display: Display | None = None,
    number: int | None = None,
    keep: Callable[[str, list[Runs]], None] | None = None,
    make_bench: Callable[..., Workbench] = Workbench,
    figures: bool = True,
) -> dict[str, Any]:
    """Run what ``plan`` names in the results folder ``place``, as a new run or as the run ``number`` once more.

    ``plan`` has the keys targets, overrides, scale, replicas, seed and device. ``keep`` is handed the runs of every claim.
    ``make_bench`` makes another bench; ``figures=False`` judges only. The record of the run is kept for ``attnlab diff``.
    Returns ``{"claims", "figures", "elsewhere", "run"}``; the exit status is in ``["run"]["status"]``.
    """
    selection = select(plan["targets"])
    if not figures:
        selection = replace(selection, figures=())
    device = check_device(plan["device"])
    options = Options(plan["scale"], plan["overrides"], plan["replicas"], plan["seed"], keep)
    prepared = prepare(selection, options)
    display = display or Display()
    cluster = None if address is None else Cluster(address, display)
    store = Store(place)
    target, reason = working_target()
    if target is None and cluster is None:
        display.say(f"simulations run on torch, without compiled kernels: {reason.splitlines()[0][:300]}")
    workers = workers or os.cpu_count() or 1
    bench = make_bench(store, display, seed=options.seed, device=device, workers=workers, cluster=cluster)
    try:
        run = store.begin_run(plan, number)
        log.info("run %d: %s at %s scale, seed %d", run, " ".join(plan["targets"]), options.scale, options.seed)
        result = reproduce(selection, options, bench, run, prepared)
        status = exit_status(result["claims"], result["figures"])
        result["run"] = run_record(run, plan, store, bench, status) | {"code": codes_of(selection, bench)}
        write_record(place, result)
        store.end_run(run, status)  # last: a run whose record is not kept has not finished
        for claim in result["claims"]:
            log.info("%s %s", claim["verdict"], claim["id"])
    finally:
        display.close()
        bench.close()
        store.close()
    return result


def codes_of(selection: Selection, bench: Workbench) -> dict[str, str]:
    """Fingerprints of the code that simulated, by simulation, and of the code that judged, by claim."""
    judged = {
        claim.id: code_fingerprint(claim.function.__module__)[:16]
        for claim in selection.claims
        if claim.function.__module__ != "__main__"
    }
    return {**{name: code[:16] for name, code in bench.codes.items()}, **judged}
