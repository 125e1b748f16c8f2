"""A certified verdict as a file that others can check: the formula, the ends of its box, and how every part was closed.

The file is checked by :mod:`attnlab.analysis.theorems.certificate_check`, which shares no code with the splitter. That its
formula is the claim's is checked here, by recording the claim again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import NotTraceable
from attnlab.analysis.theorems.engines.certification import BUDGET, certify
from attnlab.analysis.theorems.engines.cover import Cover, cases
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.exact_form import RecordedClaim
from attnlab.analysis.theorems.statement.claim import Claim, ClaimError

COMPARED = 256  # draws at which the formula is compared with the functions
FORMAT = "attnlab-certificate-1"


class CertificateError(ValueError):
    """There is no proof to write, or the file does not prove the claim; the message says why."""


def save_certificate(claim: Claim, file: str | Path, budget: int = BUDGET) -> Path:
    """Prove a claim at level ``certified`` and write the proof. Raises :class:`CertificateError` where there is none."""
    if len(claim.instances()) > 1:
        raise CertificateError("a certificate is for one size: save_certificate(claim.at(n=4), file)")
    claim = claim.instances()[0]
    found = certify(claim, budget, with_trees=True)
    if found.status != "proved" or found.trees is None:
        raise CertificateError(f"the claim is not certified: {found.advice or found.status}")
    record = {
        "format": FORMAT,
        "claim": claim.name,
        "sizes": dict(claim.chosen),
        "statement": claim.statement,
        "boxes": found.boxes,
        "cases": [
            {
                **_formula(recorded, cover, whole),
                "bounds": [
                    [low, up, " ".join(root.rules())]
                    for low, up, root in zip(recorded.lower, recorded.upper, roots, strict=True)
                ],
            }
            for recorded, cover, whole, roots in found.trees
        ],
    }
    file = Path(file)
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return file


def check_certificate(claim: Claim, file: str | Path) -> str:
    """What the certificate in a file shows of a claim. Raises :class:`CertificateError` if it does not prove it."""
    try:
        record = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CertificateError(f"cannot read the certificate {file}: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CertificateError(f"{file} holds no certificate of format {FORMAT}")
    sizes = record.get("sizes") or {}
    if claim.chosen and dict(claim.chosen) != sizes:
        raise CertificateError(f"the certificate is for the sizes {sizes}, the claim for {dict(claim.chosen)}")
    try:
        claim = claim.at(**sizes) if sizes else claim
    except (ClaimError, TypeError) as error:
        raise CertificateError(f"the certificate is for other sizes: {error}") from error
    try:
        formulas = [_formula(*case) for case in cases(claim)]
    except NotTraceable as reason:
        raise CertificateError(f"the claim as it stands has no exact form: {reason}") from reason
    given = [{key: case.get(key) for key in formulas[0]} for case in record.get("cases", [])]
    if json.loads(json.dumps(formulas)) != given:
        raise CertificateError(
            "the certificate is about another formula, box or assumption than the claim as it stands"
        )
    bounds = [[[low, up] for low, up, _ in case["bounds"]] for case in record["cases"]]
    if bounds != [[list(pair) for pair in zip(r.lower, r.upper, strict=True)] for r, _, _ in cases(claim)]:
        raise CertificateError("the certificate leaves out an inequality of the claim")
    draws = {name: domain.draw(COMPARED, np.random.default_rng(0)) for name, domain in claim.variables.items()}
    trouble = Evaluator(claim).disagreement(draws)
    if trouble:
        raise CertificateError(f"the certificate is about a formula that is not what the sides do: {trouble}")
    done = subprocess.run(
        [sys.executable, "-m", "attnlab.analysis.theorems.certificate_check", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CertificateError((done.stderr.strip().splitlines() or ["the checker failed"])[-1])
    return done.stdout.strip().replace(str(record.get("statement")), claim.statement, 1)


def _formula(recorded: RecordedClaim, cover: Cover, whole: dict[str, np.ndarray]) -> dict[str, Any]:
    def plain(op: str, args: tuple[Any, ...]) -> list[Any]:
        return [op, *map(str, args)] if op in ("constant", "rounded") else [op, *args]

    needed = 1 + max(
        [*recorded.lower, *recorded.upper, *(k for k, _ in recorded.margins)]
    )  # a proof adds entries of its own
    return {
        "whole": {name: value.tolist() for name, value in whole.items()},
        "entries": [plain(op, args) for op, args in recorded.tape.entries[:needed]],
        "margins": [list(margin) for margin in recorded.margins],
        "ends": [[name, k, str(low), str(high)] for (name, k), (low, high) in cover.ends.items()],
    }
