r"""What one model's heads do on given prompts, as one record: identities, strengths with intervals, verdicts, causes, limits.

The record is plain (numbers, text, lists): a page in the terminal or in a browser is made from it. Verdicts are over all
heads and
all kinds of pattern at once, at one family-wise error: with probability 1 - alpha no head is named that is not one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special

from attnlab.analysis.instruments.circuits import component_sums
from attnlab.analysis.instruments.instrument import Reading, findings, reading_of
from attnlab.analysis.instruments.maps import entropy, induction_score, target_contrast
from attnlab.analysis.instruments.over_prompts import needs_prompts
from attnlab.analysis.instruments.readings import Readings, Run
from attnlab.analysis.instruments.sinks import sink_strength
from attnlab.analysis.instruments.targets import previous_token

KINDS = {
    "sink": "gives the first token a score bonus",
    "previous": "looks at the token before",
    "duplicate": "looks at the same token one period earlier",
    "induction": "looks at what followed the same token before",
}
"""Kinds of pattern, as verdicts, with what a head of that kind does."""

NOTHING = 1e-12  # nats: rounding of a divergence between equal laws

ROWS = 1e-4  # rows of patterns in float32 are summed to within this at 1024 keys


@dataclass(frozen=True)
class Subject:
    """What is inspected: readings, and where there is a model, how to run it again.

    ``facts``: what ran, in words, shown as they are. ``run``, ``inputs``: for the causal check. ``unembed`` (dim,
    vocabulary): the
    read-out, for the identity of the logits. ``budget``: largest relative gap of an identity (None: by dtype).
    """

    name: str
    readings: Readings
    facts: Mapping[str, str] = field(default_factory=dict)
    run: Run | None = None
    inputs: Any = None
    unembed: np.ndarray | None = None
    budget: float | None = None


def inspect(subject: Subject, *, alpha: float = 0.05, margin: float = 1.0) -> tuple[dict[str, Any], dict[str, Reading]]:
    """The record of a subject, and the readings it was made of. ``margin`` in nats: what is called large.

    A failed identity stops everything after it: the record has ``"stopped"`` and no heads.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha!r}")
    needs_prompts(subject.readings.n_prompts)
    _needs_different_prompts(subject.readings)
    record: dict[str, Any] = {
        "name": subject.name,
        "ran": {**_ran(subject.readings), **subject.facts},
        "alpha": alpha,
        "margin": margin,
        "identities": identities(subject),
    }
    failed = [each["name"] for each in record["identities"] if not each["holds"]]
    if failed:
        record["stopped"] = f"{', '.join(failed)} does not hold: what was recorded is not what the model computed"
        return record, {}
    found, unasked = strengths(subject.readings)
    verdicts = findings({kind: found[kind] for kind in KINDS if kind in found}, margin, alpha)
    evenness = entropy.measure(subject.readings)["evenness"]
    effect = zeroed(subject) if subject.run is not None else None
    n_layers, n_heads = evenness.value.shape
    record["heads"] = [
        _head(layer, head, found, verdicts, evenness, effect) for layer in range(n_layers) for head in range(n_heads)
    ]
    record["found"] = {kind: [_name(*at) for at in np.argwhere(each.found)] for kind, each in verdicts.items()}
    record["would"] = {kind: float(each.would.max()) for kind, each in verdicts.items()}
    record["not_shown"] = [f"{kind}: {each.words('nats')}" for kind, each in verdicts.items() if not each.found.all()]
    record["not_shown"] += [f"{kind}: not asked; {why}" for kind, why in unasked.items()]
    if effect is None:
        record["not_shown"].append("cause: not asked; arrays alone cannot be run again, so a pattern here is no cause")
    readings = {**found, "evenness": evenness} | ({} if effect is None else {"zeroed": effect})
    return record, readings


def identities(subject: Subject) -> list[dict[str, Any]]:
    """The identities that the recorded sites allow, each with its worst gap, budget, layer, and whether it holds."""
    readings, made = subject.readings, []
    worst = 0.0
    for layer in readings.layers("pattern"):
        if f"L{layer}.pattern" not in readings.mass:
            for group in readings.groups:
                rows = readings.array(f"L{layer}.pattern", group).sum(-1, dtype=np.float64)
                worst = max(worst, float(np.abs(rows - 1).max()))
    made.append({"name": "rows sum to 1", "gap": worst, "budget": ROWS, "holds": worst <= ROWS, "layer": ""})
    after = component_sums.norms_after(readings)
    words = {"values": "A v = z", "stream": "sums before the norms" if after else "pre + heads + mlp = post"}
    if readings.has("pattern", "v", "z") or readings.has("pre", "heads", "post"):
        for name, reading in component_sums.measure(readings, subject.budget).items():
            at = int(reading.value.argmax())
            gap, budget = float(reading.value[at]), float(reading.limit[at])
            made.append({"name": words[name], "gap": gap, "budget": budget, "holds": gap <= budget, "layer": f"L{at}"})
    if subject.unembed is not None and readings.has("embed", "heads", "logits") and len(readings.groups) == 1:
        gap = component_sums.logits_gap(readings, subject.unembed)
        bytes_per = min(array.dtype.itemsize for array in readings.sites.values())
        budget = component_sums.BUDGETS[bytes_per] if subject.budget is None else subject.budget
        made.append(
            {"name": "components make the logits", "gap": gap, "budget": budget, "holds": gap <= budget, "layer": ""}
        )
    return made


def strengths(readings: Readings) -> tuple[dict[str, Reading], dict[str, str]]:
    """The strength of every kind of pattern, nats, (layer, head); and the kinds that these prompts cannot ask for, with why."""
    found = {
        "sink": sink_strength.measure(readings)["strength"],
        "previous": target_contrast.measure(readings, previous_token)["contrast"],
    }
    unasked = {}
    if readings.periods is None:
        unasked = dict.fromkeys(
            ("duplicate", "induction"), "it takes prompts that repeat, with a period drawn per prompt"
        )
    else:
        repeated = induction_score.measure(readings)
        found |= {kind: repeated[kind] for kind in ("duplicate", "induction")}
    return found, unasked


def zeroed(subject: Subject) -> Reading:
    r"""What a head does to the output: the mean over positions of KL(p || p without the head), nats, (layer, head).

    p is the model's next-token law; the head's z is set to 0 everywhere. Exactly 0 for a head that nothing reads.
    """
    run, readings = subject.run, subject.readings
    clean = run(subject.inputs, sites=("logits",))["logits"]
    layers = readings.layers("pattern")
    n_heads = readings.sites[f"L{layers[0]}.pattern"].shape[1]
    values = np.empty((readings.n_prompts, len(layers), n_heads))
    real = np.ones(clean.shape[:2], dtype=bool) if readings.real is None else readings.real
    for row, layer in enumerate(layers):
        for head in range(n_heads):
            without = run(subject.inputs, sites=("logits",), replace={f"L{layer}.z": _without(head)})["logits"]
            values[:, row, head] = (_divergence(clean, without) * real).sum(1) / real.sum(1)
    return reading_of(values, "nats", ("layer", "head"), "prompts independent; the head's output is set to 0", null=0.0)


def _needs_different_prompts(readings: Readings) -> None:
    """``ValueError`` for prompts that are copies of each other: intervals and tests take prompts as independent."""
    if readings.tokens is None:
        return
    real = np.ones(readings.tokens.shape, dtype=bool) if readings.real is None else readings.real
    first: dict[bytes, int] = {}
    for prompt, (tokens, kept) in enumerate(zip(readings.tokens, real, strict=True)):
        before = first.setdefault(np.ascontiguousarray(tokens[kept]).tobytes(), prompt)
        if before != prompt:
            raise ValueError(
                f"prompt {prompt} is the same as prompt {before}: a copy is no replication, and intervals over prompts "
                "would be too short; give different prompts"
            )


def _without(head: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(z: np.ndarray) -> np.ndarray:
        made = z.copy()
        made[:, head] = 0
        return made

    return change


def _divergence(clean: np.ndarray, other: np.ndarray) -> np.ndarray:
    p, q = (special.log_softmax(x.astype(np.float64), axis=-1) for x in (clean, other))
    return np.maximum((np.exp(p) * (p - q)).sum(-1), 0.0)


def _ran(readings: Readings) -> dict[str, str]:
    """Prompts, tokens, heads, dtype, mask and padding, in words."""
    layers = readings.layers("pattern")
    lengths = [group.length for group in readings.groups]
    n_heads = readings.sites[f"L{layers[0]}.pattern"].shape[1]
    padding = "none"
    if readings.real is not None and not readings.real.all():
        left, right = not readings.real[:, 0].all(), not readings.real[:, -1].all()
        padding = " and ".join(side for side, there in (("left", left), ("right", right)) if there) + ", dropped"
    spread = f"{min(lengths)}" if len(lengths) == 1 else f"{min(lengths)} to {max(lengths)}"
    return {
        "prompts": f"{readings.n_prompts} of {spread} tokens",
        "heads": f"{n_heads} in each of {len(layers)} layers",
        "dtype": str(readings.sites[f"L{layers[0]}.pattern"].dtype),
        "mask": "causal" if readings.visible is None else "as given",
        "padding": padding,
        "recorded": ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in readings.sites)),
    }


def _head(
    layer: int, head: int, found: Mapping, verdicts: Mapping, evenness: Reading, effect: Reading | None
) -> dict[str, Any]:
    """One row: per kind value, interval, null, Holm's p, verdict; evenness; what the head does."""
    row: dict[str, Any] = {"head": _name(layer, head), "layer": layer, "index": head, "is": [], "kinds": {}}
    for kind, verdict in verdicts.items():
        cell = _cell(found[kind], layer, head)
        row["kinds"][kind] = cell | {
            "holm_p": float(verdict.adjusted[layer, head]),
            "found": bool(verdict.found[layer, head]),
        }
        row["is"] += [kind] if verdict.found[layer, head] else []
    row["evenness"] = _cell(evenness, layer, head)
    if effect is not None:
        row["zeroed"] = _cell(effect, layer, head)
        row["acts"] = row["zeroed"]["value"] > NOTHING
    return row


def _cell(reading: Reading, layer: int, head: int) -> dict[str, float]:
    return {name: float(getattr(reading, name)[layer, head]) for name in ("value", "low", "high")}


def _name(layer: int, head: int) -> str:
    return f"L{layer}H{head}"
