"""One run of ``attnlab reproduce``: judge the selected claims, draw the selected figures, keep the record."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.papers.lab.declare import Claim, PaperFigure, Scale
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.overrides import apply, check_known
from attnlab.papers.lab.registry import Selection
from attnlab.papers.lab.run.workbench import Bench, Lab, Runs

BUDGET = 0.01  # chance that a run of true claims says anything false
LOOKS = 2  # an undecided claim is judged once more, on twice the replicas


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run goes: the options of the command line, checked."""

    scale: Scale = "desk"
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)
    replicas: int | None = None
    seed: int = 0
    keep: Callable[[str, list[Runs]], None] | None = None  # is handed the runs that each claim saw


def reproduce(selection: Selection, options: Options, bench: Bench, run: int) -> dict[str, Any]:
    """Records ``{"claims": [...], "figures": [...]}`` of all selected items that the scale can decide.

    Claims run side by side and share simulations; each verdict is entered in the store as soon as it is there. Without a
    fixed number of replicas an undecided claim gets more of them until it is decided or has had :data:`LOOKS` looks; look
    k draws the fraction 1 / (k (k + 1)) of the claim's error, so looking costs no validity.
    """
    claims, figures, elsewhere = _at_scale(selection, options)
    check_known(options.overrides, [item.setting.at(options.scale) for item in (*claims, *figures)])
    settings = {item.id: apply(item.setting.at(options.scale), options.overrides) for item in (*claims, *figures)}
    ledger = ErrorLedger(BUDGET)
    share = {paper.key: BUDGET / len(selection.papers) / max(1, paper.judged_parts()) for paper in selection.papers}

    def judge(claim: Claim) -> dict[str, Any]:
        started = time.perf_counter()
        for look in range(1, LOOKS + 1):
            lab = Lab(bench, options.scale, options.replicas, times=2 ** (look - 1))
            with ledger.claim(
                claim.id,
                share=share[claim.paper] * claim.parts,
                parts=claim.parts,
                look=None if options.replicas else look,
            ):
                try:
                    verdict = claim.judge(settings[claim.id], lab)
                except ValueError as error:
                    raise UsageError(f"{claim.id} cannot be evaluated at this setting: {error}") from error
            excused = options.scale == "smoke" and claim.undecided_at_smoke
            if options.replicas or excused or not lab.used or not verdict.more_replicas_may_decide:
                break
        record = claim_record(claim, verdict, options, settings[claim.id], lab, time.perf_counter() - started)
        if options.keep is not None:
            options.keep(claim.id, lab.runs)
        bench.store.put_verdict(run, record | {"looks": look})
        return record | {"looks": look}

    def draw(figure: PaperFigure) -> dict[str, Any]:
        lab = Lab(bench, options.scale, options.replicas)
        plate = figure.function(settings[figure.id], lab)
        seeds = f"seed {options.seed}" if lab.used else ""
        caption = plate.caption or describe(plate, figure.caption, seeds)
        folder = bench.store.folder / "figures" / figure.paper / options.scale
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = [str(path) for path in plate.save(folder, figure.name)]
        except OSError as error:
            raise environment_error(error, f"write {figure.id} into {folder}") from error
        bench.store.put_figure(run, figure.id, options.scale, files)
        return {"id": figure.id, "files": files, "caption": caption, "scale": options.scale}

    with ThreadPoolExecutor(max(1, len(claims))) as judging, ThreadPoolExecutor(1) as drawing:
        pending = [judging.submit(judge, claim) for claim in claims] + [drawing.submit(draw, f) for f in figures]
        try:
            records = _all(pending)
        except BaseException:
            for future in pending:
                future.cancel()
            bench.close(now=True)
            raise
    return {"claims": records[: len(claims)], "figures": records[len(claims) :], "elsewhere": elsewhere}


def claim_record(
    claim: Claim, verdict: Any, options: Options, setting: Any, lab: Lab, seconds: float
) -> dict[str, Any]:
    """The plain record of one verdict: what ``--json`` prints and the store keeps."""
    excused = options.scale == "smoke" and verdict.outcome == "UNDECIDED" and bool(claim.undecided_at_smoke)
    return {
        "id": claim.id,
        **verdict.record(),
        "expected": claim.expected,
        "as_expected": verdict.outcome == claim.expected or excused,
        "excuse": claim.undecided_at_smoke if excused else None,
        "statement": claim.statement,
        "statements": list(claim.statements),
        "source": claim.source,
        "scale": options.scale,
        "setting": _finite(dataclasses.asdict(setting)),
        "seed": options.seed,
        "replicas": options.replicas,
        "simulations": sorted(lab.used),
        "diverged": lab.diverged,
        "seconds": round(seconds, 3),
    }


def exit_status(records: list[dict[str, Any]]) -> int:
    """0 all as expected; 1 a verdict contradicts what is expected; 3 undecided, vacuous, invalid or diverged."""
    status = 0
    for record in records:
        if not record["as_expected"]:
            if record["verdict"] in ("HOLDS", "REFUTED"):
                return 1
            status = 3
        if record["diverged"]:
            status = 3
    return status


def _at_scale(selection: Selection, options: Options) -> tuple[list[Claim], list[PaperFigure], list[dict[str, str]]]:
    """What the scale can decide; an item asked for by name at a scale that cannot is an error."""
    elsewhere = []
    for item in (*selection.claims, *selection.figures):
        if options.scale not in item.scales:
            where = " or ".join(item.scales)
            if item.id in selection.explicit:
                raise UsageError(f"{item.id} is for --scale {where}: {item.why_these_scales}")
            elsewhere.append({"id": item.id, "scales": where, "reason": item.why_these_scales})
    here = [c for c in selection.claims if options.scale in c.scales]
    figures = [f for f in selection.figures if options.scale in f.scales]
    return here, figures, elsewhere


def _all(pending: list[Future]) -> list[Any]:
    """All results; the first failure ends the wait. Short waits keep Ctrl-C alive."""
    open_ = set(pending)
    while open_:
        finished, open_ = wait(open_, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
    return [future.result() for future in pending]


def _finite(x: Any) -> Any:
    """JSON-ready settings: tuples as lists, no infinities."""
    if isinstance(x, dict):
        return {k: _finite(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_finite(v) for v in x]
    if isinstance(x, float) and not math.isfinite(x):
        return None
    return str(x) if isinstance(x, Path) else x
