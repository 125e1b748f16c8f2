"""Captions that say what a reader must know to believe a figure: n, seeds, and what the bars and bands are."""

from __future__ import annotations

from attnlab.analysis.figures.marks import named
from attnlab.analysis.figures.plate import Plate


def describe(plate: Plate, text: str, seeds: str) -> str:
    """Set ``plate.caption`` to ``text`` and what the pieces drawn so far say of themselves, and return it.

    ``seeds`` says where the randomness came from: ``"seed 0, replicas 0 to 15"``; "" if nothing is random.

    >>> describe(plate, "Risk against context length.", seeds="seed 0")     # doctest: +SKIP
    'Risk against context length. Points: means over replicas, bars: 95 % t intervals (n = 16). Seeds: seed 0.'
    """
    sentences = [named(text, "text").rstrip().rstrip(".")]
    for fact, counts in plate.facts.items():
        sentences.append(fact if not counts else f"{fact} (n = {_range(counts)})")
    if plate.draws_replicas and not seeds:
        raise ValueError(
            "seeds must say where the replicas' randomness came from, got ''; for example 'seed 0, replicas 0 to 15'"
        )
    if seeds:
        sentences.append(f"Seeds: {seeds.rstrip('.')}")
    plate.caption = ". ".join(sentences) + "."
    return plate.caption


def _range(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
