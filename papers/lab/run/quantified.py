"""Claims that speak of all inputs: their forms by level, and one verdict from the verdicts of the forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

from attnlab.analysis.theorems.check import LEVELS, check
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.analysis.verdicts.verdict import Outcome, Verdict, all_of
from attnlab.papers.lab import registry
from attnlab.papers.lab.declare import DECLARED, Claim
from attnlab.papers.lab.run.fingerprint import code_fingerprint

PROOF_BUDGET = 1_000_000  # evaluations that a proof may cost; registered proofs take far fewer


def forms_of(claim: Claim, setting: Any) -> dict[str, ForAll]:
    """The forms of a claim by level, the most general first, named ``paper.claim`` and ``paper.claim:level``.

    A name that the form already has is a note on it (``"up to 0.01"``); it becomes its source, and the verdict tells it.
    Raises ``ValueError`` if the claim has none, or a form has an unknown level or no twin.
    """
    if claim.forms is None:
        raise ValueError(f"{claim.id} is judged on replicas and has no for-all form")
    made = claim.forms(setting)
    if not made:
        raise ValueError(f"{claim.id} returns no form; return {{'searched': for_all(...).bound(...)}}")
    for level, form in made.items():
        if level not in LEVELS or level == "sampled" or not isinstance(form, ForAll):
            raise ValueError(
                f"{claim.id} has the form {level!r}: {form!r}; expected a for-all claim under searched, "
                "certified or symbolic"
            )
        if not form.twins:
            raise ValueError(f"{claim.id}: the {level} form has no twin; give twin=Twin.of(label, at_most=...)")
    return {
        level: replace(form, name=claim.id if k == 0 else f"{claim.id}:{level}", source=form.name or claim.source)
        for k, (level, form) in enumerate(made.items())
    }


def judge(claim: Claim, setting: Any, seed: int) -> Verdict:
    """The verdict on all forms at their levels; the numbers are those of the most general form."""
    verdicts = {}
    for level, form in forms_of(claim, setting).items():
        verdict = check(form, level, budget=budget_of(level, setting.budget), seed=seed)
        note = f" {form.source}" if form.source != claim.source else ""
        verdicts[level] = replace(verdict, of=f"{verdict.of}{note}")
    return combined(verdicts)


def budget_of(level: str, budget: int) -> int:
    """Evaluations for a form, and for each twin, at a level: searches keep to the budget, proofs must be able to
    finish."""
    return budget if level == "searched" else max(budget, PROOF_BUDGET)


def combined(verdicts: dict[str, Verdict]) -> Verdict:
    """One verdict: holds if all forms do; the reason of the general form, then what the others show and where."""
    parts = [verdict.named(level) for level, verdict in verdicts.items()]
    whole = all_of(*parts)
    if whole.outcome is not Outcome.HOLDS:
        return whole
    others = [f"{part.name} for {part.of}" for part in parts[1:]]
    return replace(whole, reason="; ".join([parts[0].reason, *others]))


@dataclass(frozen=True)
class SearchTask:
    """What a worker needs to judge a claim; ``code`` is the fingerprint of the code that judges it here."""

    paper: str
    claim: str
    setting: Any
    seed: int
    code: str


def search_task(claim: Claim, setting: Any, seed: int) -> SearchTask | None:
    """How another process judges the claim, or None if it cannot: its paper is not one of attnlab."""
    paper, modules = DECLARED.get(claim.paper), (claim.function.__module__, type(setting).__module__)
    if paper is None or paper.claims.get(claim.name) is not claim or claim.paper not in registry.own_keys():
        return None
    if not all(module.startswith("attnlab.") for module in modules):
        return None
    return SearchTask(claim.paper, claim.name, setting, seed, code_fingerprint(modules[0]))


def search(task: SearchTask) -> Verdict | None:
    """The verdict, in a worker; None where the claim or its code is another one, or raises: the driver will see the same."""
    try:
        claim = registry.load(task.paper).claims[task.claim]
        if code_fingerprint(claim.function.__module__) != task.code:
            return None
        verdict = judge(claim, task.setting, task.seed)
        ForkingPickler.dumps(verdict)  # what cannot be sent is judged again by the driver
        return verdict
    except MemoryError:
        raise
    except Exception:
        return None
