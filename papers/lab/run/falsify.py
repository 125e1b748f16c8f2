"""Search for a counterexample to one claim about all inputs: witnesses and certificates as files, and both looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnlab.analysis.theorems.certificate import CertificateError, check_certificate, save_certificate
from attnlab.analysis.theorems.check import check, size_label
from attnlab.analysis.theorems.witness import WitnessError, replay, save_witness
from attnlab.analysis.verdicts.verdict import Outcome, Verdict
from attnlab.papers.lab.declare import Claim
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.overrides import apply, check_known
from attnlab.papers.lab.registry import select
from attnlab.papers.lab.run.quantified import budget_of, forms_of
from attnlab.papers.lab.scales import Scale

SCALE: Scale = "desk"  # the setting whose dimensions are searched


def falsify(
    target: str,
    level: str | None,
    budget: int | None,
    seed: int,
    folder: Path,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Judge the forms of one claim and save a witness of each that is refuted; ``overrides`` change its desk setting.

    Without a level every form is searched. With one, the form stated for it is judged, or else the most general form.
    ``budget`` counts evaluations of each form, and of each twin (default: the setting's, or more for a proof). Raises
    :class:`UsageError` for a target that is not one claim, and for a claim that speaks of replicas.
    """
    claim = _one_claim(target)
    setting = _setting(claim, overrides)
    forms = forms_of(claim, setting)
    if level is not None:
        form = forms.get(level, next(iter(forms.values())))
        forms = {level: form}
    records = []
    for stated, form in forms.items():
        at = level or "searched"
        spent = budget if budget is not None else budget_of(at, setting.budget)
        verdict = check(form, at, budget=spent, seed=seed)
        file = _save(verdict, folder) if verdict.outcome is Outcome.REFUTED else None
        proof = _certificates(form, spent, folder) if at == "certified" and verdict.outcome is Outcome.HOLDS else []
        records.append(
            _record(
                claim, verdict, file, form=stated, budget=spent, seed=seed, certificate_files=[str(f) for f in proof]
            )
        )
    return {"claims": records}


def replayed(file: Path, target: str | None, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Evaluate the witness in ``file`` again, with the claim as it is stated now; ``target`` must agree, if given.

    ``overrides`` are those with which it was found.

    REFUTED if it still refutes the claim, UNDECIDED if not. Raises :class:`UsageError` for a damaged file, an unknown
    claim and a point that does not fit it.
    """
    found: list[Claim] = []

    def lookup(name: str) -> Any:
        claim_id, _, level = name.partition(":")
        claim = _one_claim(claim_id)
        found.append(claim)
        forms = forms_of(claim, _setting(claim, overrides))
        if level not in forms and level:
            raise UsageError(f"{claim.id} has no {level} form any more; it has {', '.join(forms)}")
        return forms[level] if level else next(iter(forms.values()))

    wanted = _one_claim(target) if target else None
    try:
        verdict = replay(file, lookup)
    except WitnessError as error:
        raise UsageError(str(error)) from error
    if wanted is not None and wanted.id != found[0].id:
        raise UsageError(f"the witness in {file} is about {found[0].id}, not {wanted.id}; leave the claim out")
    return {"claims": [_record(found[0], verdict, str(file))]}


def checked(file: Path, target: str, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check a certificate against the claim as it is stated now. HOLDS at level certified, or :class:`UsageError`.

    The proof is checked by ``attnlab.analysis.theorems.certificate_check``, a program that shares no code with the one
    that found it; that its formula is that of the claim is checked by recording the claim again.
    """
    claim = _one_claim(target)
    refusals = []
    for form in forms_of(claim, _setting(claim, overrides)).values():
        for one in form.instances():
            try:
                said = check_certificate(one, file)
            except CertificateError as error:
                refusals.append(str(error))
                continue
            verdict = Verdict(
                Outcome.HOLDS, one.kind, of=one.region, level="certified", reason=said, name=form.name, unit="region"
            )
            return {"claims": [_record(claim, verdict, None, certificate_files=[str(file)])]}
    raise UsageError(f"{file} does not prove {claim.id}: {refusals[-1]}")


def _certificates(form: Any, budget: int, folder: Path) -> list[Path]:
    """One file per size of a certified form."""
    place = folder / "certificates"
    files = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for one in form.instances():
            name = ".".join(part for part in (form.name.replace(":", "."), size_label(one).replace(", ", ".")) if part)
            files.append(save_certificate(one, place / f"{name}.json", budget))
        return files
    except OSError as error:
        raise environment_error(error, f"save the certificate of {form.name} into {place}") from error


def _setting(claim: Claim, overrides: Mapping[str, str] | None) -> Any:
    """The desk setting of the claim with the overrides, each of which it must have."""
    setting = claim.setting.at(SCALE)
    check_known(overrides or {}, [setting])
    return apply(setting, overrides or {})


def _one_claim(target: str) -> Claim:
    selection = select([target])
    if len(selection.claims) != 1 or selection.figures:
        raise UsageError(f"{target!r} is not one claim: name it as paper.claim; see `attnlab list`")
    claim = selection.claims[0]
    if claim.forms is None:
        raise UsageError(
            f"{claim.id} speaks of replicas, not of all inputs: there is nothing to search. Run "
            f"`attnlab reproduce {claim.id} --seed 1` (2, 3, ...) to try it on other replicas"
        )
    return claim


def _save(verdict: Verdict, folder: Path) -> str:
    place = folder / "witnesses"
    try:
        place.mkdir(parents=True, exist_ok=True)
        return str(save_witness(verdict, place / f"{verdict.name.replace(':', '.')}.json"))
    except OSError as error:
        raise environment_error(error, f"save the witness of {verdict.name} into {place}") from error


def _record(claim: Claim, verdict: Verdict, file: str | None, **more: Any) -> dict[str, Any]:
    return {
        "id": claim.id,
        **verdict.record(),
        "expected": claim.expected,
        "as_expected": verdict.outcome == claim.expected,
        "statement": claim.statement,
        "diverged": [],
        "witness_file": file,
        "line": verdict.line(),
        **more,
    }
