"""What all panels of a figure share: the looks of series, the record of what is drawn, the facts for the caption."""

from __future__ import annotations

from collections.abc import Iterable

from attnlab.analysis.figures.marks import Mark, named
from attnlab.analysis.figures.style import Look, look_of


class Sheet:
    """The part of a plate that its panels write to.

    ``marks`` lists what was drawn, ``facts`` what the pieces say of their bars and bands, with the numbers of replicas.
    """

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.facts: dict[str, set[int]] = {}
        self._looks: dict[str, Look] = {}
        self._finished = False

    def look(self, series: str) -> Look:
        """The look of a series: the next free one at its first mention, the same ever after."""
        if named(series, "series") not in self._looks:
            self._looks[series] = look_of(len(self._looks))
        return self._looks[series]

    def record(self, mark: Mark) -> None:
        """Write down what was drawn; a piece of your own calls it for everything it shows."""
        if self._finished:
            raise ValueError(f"{mark.kind} {mark.series!r} comes after the plate was saved; draw first, save last")
        self.marks.append(mark)

    def tell(self, fact: str, counts: Iterable[int] = ()) -> None:
        """Keep a sentence for the caption, with the numbers of replicas it speaks of."""
        self.facts.setdefault(fact, set()).update(int(count) for count in counts)

    @property
    def draws_replicas(self) -> bool:
        """Whether anything on the plate comes from replicas, and so from seeds."""
        return any(self.facts.values())
