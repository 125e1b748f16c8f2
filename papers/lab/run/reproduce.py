"""One run of ``attnlab reproduce``: judge the selected claims, draw the selected figures, keep the record."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from pathlib import Path
from typing import Any

from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.analysis.verdicts.verdict import Outcome, Verdict, percent
from attnlab.papers.lab.declare import Claim, Item, PaperFigure, Scale
from attnlab.papers.lab.errors import ItemError, UsageError, environment_error, of_the_system
from attnlab.papers.lab.overrides import apply, check_known, known_fields
from attnlab.papers.lab.plain import plain_setting
from attnlab.papers.lab.registry import Selection
from attnlab.papers.lab.run.latest import words
from attnlab.papers.lab.run.threads import results, started
from attnlab.papers.lab.run.workbench import Lab, Runs, Workbench
from attnlab.simulators.ensemble import setting as setting_module

BUDGET = 0.01  # chance that a run of true claims says anything false
LOOKS = 2  # an undecided claim is judged once more, on twice the replicas
FAILED = "FAILED"  # in the place of a verdict: the claim could not be judged


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run goes: the options of the command line, checked."""

    scale: Scale = "desk"
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)
    replicas: int | None = None
    seed: int = 0
    keep: Callable[[str, list[Runs]], None] | None = None  # is handed the runs that each claim saw


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a run will do, checked: nothing has begun yet. ``refused`` says which items cannot take the settings, and why."""

    claims: list[Claim]
    figures: list[PaperFigure]
    settings: dict[str, Any]
    refused: dict[str, str]
    elsewhere: list[dict[str, str]]


def prepare(selection: Selection, options: Options) -> Prepared:
    """Check targets, scale and overrides.

    Raises :class:`UsageError` for an item asked for by name at a scale that cannot decide it, for an override that no item
    knows, and for a value that every item refuses; an item that alone refuses a value is reported and costs the others
    nothing.
    """
    claims, figures, elsewhere = _at_scale(selection, options)
    items: list[Item] = [*claims, *figures]
    check_known(options.overrides, [item.setting.at(options.scale) for item in items])
    settings: dict[str, Any] = {}
    refused: dict[str, str] = {}
    errors: dict[str, UsageError] = {}
    for item in items:
        try:
            settings[item.id] = apply(item.setting.at(options.scale), options.overrides)
        except UsageError as error:
            settings[item.id], refused[item.id] = item.setting.at(options.scale), str(error)
            errors[item.id] = error
    concerned = [item for item in items if known_fields(item.setting.at(options.scale)) & set(options.overrides)]
    if errors and len(errors) == len(concerned):
        raise next(iter(errors.values()))
    return Prepared(claims, figures, settings, refused, elsewhere)


def reproduce(
    selection: Selection, options: Options, bench: Workbench, run: int, prepared: Prepared | None = None
) -> dict[str, Any]:
    """Records ``{"claims": [...], "figures": [...]}`` of all selected items that the scale can decide.

    Claims run side by side and share simulations; each verdict is entered in the store as soon as it is there. Without a
    fixed number of replicas an undecided claim gets more of them until it is decided or has had :data:`LOOKS` looks, which
    share the claim's error, so looking costs no validity. An item that raises, diverges or cannot take a value of its
    setting is reported as FAILED with the reason and costs no other item its verdict.
    """
    if prepared is None:
        prepared = prepare(selection, options)
    settings, claims, figures = prepared.settings, prepared.claims, prepared.figures
    papers = selection.papers
    claims_of = {claim.id: claim for paper in papers for claim in paper.claims.values()}
    ledger = ErrorLedger(BUDGET)
    share = {paper.key: BUDGET / len(papers) / max(1, paper.judged_parts()) for paper in papers}

    def judge(claim: Claim, lab: Lab) -> dict[str, Any]:
        started = time.perf_counter()

        def make(look: int) -> Lab:
            lab.look(times=2 ** (look - 1))
            return lab

        verdict, looks = judge_in_looks(claim, settings[claim.id], make, ledger, share[claim.paper], options)
        record = claim_record(claim, verdict, options, settings[claim.id], lab, time.perf_counter() - started)
        if options.keep is not None:
            options.keep(claim.id, lab.runs)
        return record | {"looks": looks}

    def draw(figure: PaperFigure, lab: Lab) -> dict[str, Any]:
        from attnlab.analysis.figures.caption import describe  # with matplotlib, half a second

        plate = figure.function(settings[figure.id], lab)
        seeds = f"seed {options.seed}" if lab.used else ""
        conditions = drawn_at(options, settings[figure.id])
        judged = _judged_by(figure, judging_of, bench, options, claims_of)
        caption = plate.caption or describe(plate, " ".join(filter(None, [figure.caption, conditions, judged])), seeds)
        variant = variant_of(figure, options, settings[figure.id])
        if variant and plate.caption:
            plate.caption = f"{plate.caption} Not the declared setting: {variant}."
            caption = plate.caption
        folder = bench.store.folder / "figures" / figure.paper / options.scale / path_of(variant)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = [str(path) for path in plate.save(folder, figure.name)]
        except OSError as error:
            raise environment_error(error, f"write {figure.id} into {folder}") from error
        bench.store.put_figure(run, figure.id, options.scale, files, variant)
        told = {"files": files, "caption": caption, "variant": variant, "failed": None}
        return {"id": figure.id, "scale": options.scale} | told

    failures: dict[str, str] = {}

    def attempt(item: Claim | PaperFigure) -> dict[str, Any]:
        """The item's record, also where it fails; what is wrong with the environment ends the run."""
        lab = Lab(bench, options.scale, options.replicas)
        try:
            if item.id in prepared.refused:
                raise ItemError(prepared.refused[item.id])
            record = judge(item, lab) if isinstance(item, Claim) else draw(item, lab)
        except (Exception, SystemExit) as error:
            reason = why_failed(error)
            failures[item.id] = reason
            bench.display.say(f"{item.id} failed; the results say why")
            if isinstance(item, Claim):
                return failed_record(item, reason, options, settings[item.id], lab)
            told = {"files": [], "caption": "", "variant": "", "failed": reason}
            return {"id": item.id, "scale": options.scale} | told
        finally:
            bench.display.judged(item.id)
        if isinstance(item, Claim):
            bench.store.put_verdict(run, record)
        return record

    bench.searches = sum(claim.forms is not None for claim in claims)
    bench.display.start(len(claims) + len(figures))
    judging_of: dict[str, Future] = {}
    try:
        for claim in claims:
            judging_of |= {claim.id: started([partial(attempt, claim)], 1)[0]}
        drawing = started([partial(attempt, figure) for figure in figures], 1)
        records = results([*judging_of.values(), *drawing])
    except BaseException:
        for name, reason in list(failures.items()):  # there are no results that could say it
            bench.display.say(f"{name} failed: {reason}")
        bench.close(now=True)
        raise
    return {"claims": records[: len(claims)], "figures": records[len(claims) :], "elsewhere": prepared.elsewhere}


def judge_in_looks(
    claim: Claim, setting: Any, make_lab: Callable[[int], Any], ledger: ErrorLedger, share: float, options: Options
) -> tuple[Verdict, int]:
    """The verdict of a claim and the number of looks it took; ``make_lab(look)`` gives the lab of each look.

    ``share`` is the part of the error budget of one judged part. Both looks together draw the claim's whole share.
    """
    for look in range(1, LOOKS + 1):
        lab = make_lab(look)
        looks = {} if options.replicas else {"look": look, "looks": LOOKS}
        with ledger.claim(claim.id, share=share * claim.parts, parts=claim.parts, **looks):
            verdict = claim.judge(setting, lab)
        excused = options.scale == "smoke" and claim.undecided_at_smoke
        if options.replicas or excused or not lab.used or not verdict.more_replicas_may_decide:
            break
    return verdict, look


def claim_record(
    claim: Claim, verdict: Verdict, options: Options, setting: Any, lab: Any, seconds: float
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
        "overrides": {} if setting is None else overridden_fields(claim, options, setting),
        "setting": None if setting is None else plain_setting(setting),
        "seed": options.seed,
        "replicas": options.replicas,
        "simulations": sorted(lab.used),
        "diverged": lab.diverged,
        "seconds": round(seconds, 3),
    }


def failed_record(claim: Claim, reason: str, options: Options, setting: Any, lab: Any) -> dict[str, Any]:
    """The record of a claim that could not be judged: FAILED, with the reason. It is no verdict and is not kept."""
    blank = Verdict(Outcome.UNDECIDED, "failure", reason=reason, kind=claim.kind)
    record = claim_record(claim, blank, options, setting, lab, 0.0)
    return record | {"verdict": FAILED, "as_expected": False, "excuse": None, "looks": 0}


def overridden_fields(item: Claim | PaperFigure, options: Options, setting: Any) -> dict[str, Any]:
    """The overrides that changed the item's setting, with the values that they gave it."""
    declared, now = plain_setting(item.setting.at(options.scale)), plain_setting(setting)
    return {key: now.get(key) for key in options.overrides if key in now and now[key] != declared.get(key)}


def variant_of(figure: PaperFigure, options: Options, setting: Any) -> str:
    """In what a figure differs from that of the declared setting: ``dim=7 seed=3``, or ``""``."""
    differs = overridden_fields(figure, options, setting)
    differs |= ({"seed": options.seed} if options.seed else {}) | (
        {"replicas": options.replicas} if options.replicas else {}
    )
    return words(differs)


def path_of(variant: str) -> str:
    """A folder's name for a variant: its own text where that can be a name, else cut and told apart by a hash."""
    name = re.sub(r"[^A-Za-z0-9=.,+-]+", "_", variant)
    return name if len(name) <= 60 and name == variant.replace(" ", "_") else f"{name[:50]}_{_short_hash(variant)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def exit_status(records: list[dict[str, Any]], figures: Sequence[dict[str, Any]] = ()) -> int:
    """0 all as expected; 1 a verdict contradicts what is expected; 3 undecided, vacuous, invalid, failed or diverged."""
    if any(not record["as_expected"] and record["verdict"] in ("HOLDS", "REFUTED") for record in records):
        return 1
    open_ = any(not record["as_expected"] or record["diverged"] for record in records)
    return 3 if open_ or any(figure.get("failed") for figure in figures) else 0


def why_failed(error: Exception | SystemExit) -> str:
    """Why one item failed; errors of the environment, and being stopped, concern the whole run and are raised again."""
    if isinstance(error, (UsageError, CancelledError)) and not isinstance(error, ItemError):
        raise error
    if isinstance(error, OSError) and of_the_system(error):
        raise error
    if isinstance(error, ItemError):
        return str(error)
    if isinstance(error, ValueError):
        return f"cannot be evaluated at this setting: {error}"
    *places, last = traceback.extract_tb(error.__traceback__)
    asked = (
        each for each in (last, *places[::-1]) if each.filename not in (setting_module.__file__, dataclasses.__file__)
    )
    place = next(asked, last)  # what a setting refuses was written by whoever asked it
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


def drawn_at(options: Options, setting: Any) -> str:
    """The sentence of a caption that says at which scale and with which changed fields a figure was drawn."""
    own = {field.name for field in dataclasses.fields(setting)}
    changed = [f"{key}={value}" for key, value in options.overrides.items() if key in own]
    said = f"{options.scale.capitalize()} scale" + (f" with {', '.join(changed)}" if changed else "")
    if options.scale == "smoke":
        said = f"{said.upper() if not changed else said.replace('Smoke', 'SMOKE')}: shows that the path works, decides little"
    return f"{said}."


def _judged_by(
    figure: PaperFigure, judging: Mapping[str, Future], bench: Workbench, options: Options, claims: Mapping[str, Claim]
) -> str:
    """``Judged by risk: HOLDS, resolves 0.4 %.``: the verdicts of the figure's claims, from this run or an earlier one.

    An earlier verdict counts only where it was judged at the setting, seed and number of replicas of this run.
    """
    said = []
    for name in figure.claims:
        key = f"{figure.paper}.{name}"
        if key in judging:
            record = judging[key].result()
        else:
            try:
                setting = plain_setting(apply(claims[key].setting.at(options.scale), options.overrides))
            except (KeyError, UsageError):
                continue
            record = bench.store.verdict_of(key, options.scale, setting, options.seed, options.replicas)
        if record is not None:
            resolves = record.get("resolves")
            said.append(f"{name}: {record['verdict']}" + (f", resolves {percent(resolves)}" if resolves else ""))
    return f"Judged by {'; '.join(said)}." if said else ""


def _at_scale(selection: Selection, options: Options) -> tuple[list[Claim], list[PaperFigure], list[dict[str, str]]]:
    """What the scale can decide; an item asked for by name at a scale that cannot is an error."""
    elsewhere: list[dict[str, str]] = []
    items: list[Item] = [*selection.claims, *selection.figures]
    for item in items:
        if options.scale not in item.scales:
            where = " or ".join(item.scales)
            if item.id in selection.explicit:
                raise UsageError(f"{item.id} is for --scale {where}: {item.why_these_scales}")
            elsewhere.append({"id": item.id, "scales": where, "reason": item.why_these_scales})
    here = [c for c in selection.claims if options.scale in c.scales]
    figures = [f for f in selection.figures if options.scale in f.scales]
    return here, figures, elsewhere
