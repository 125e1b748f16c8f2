r"""Hard-attention encoders as data: embedding, positional encoding, layers with rational weights.

Position j of a word holds ``letter one-hot + encoding(j, n)``; layers append coordinates to the vectors of all positions::

    affine       sum of weights times coordinates, plus a constant
    relu         max(0, .) of such a sum
    attention    position i scores every j by ``<A x_i, B x_j>``, A and B affine, and gets copies of coordinates of the j with
                 the largest score: the leftmost of them (unique hard attention, UHAT), or their mean (averaging, AHAT)

Weights do not depend on the word or its length; encodings may depend on i and n in any way. Appending is a special
case of the layer maps ``C(x_i, x_j)`` of the definition. Reference: Barceló et al. 2024, Section 3; Hao, Angluin and Frank 2022,
"Formal language recognition by hard attention transformers", for the two kinds of attention.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

Number = int | Fraction
Sum = tuple[tuple[tuple[int, Number], ...], Number]  # ((coordinate, weight), ...) and the constant
Encoding = Callable[[int, int], Number]  # of the index (0, 1, ... over all positions) and the length n of the word

UNIQUE, AVERAGE = "unique", "average"


@dataclass(frozen=True)
class Affine:
    """Appends ``sum``, or ``max(0, sum)``."""

    sum: Sum
    relu: bool = False


@dataclass(frozen=True)
class Attention:
    """Appends copies of some coordinates of the position (or the mean over positions) with the largest score.

    ``mask``: "" sees every position, "past" those up to its own, "future" those from its own on.
    """

    queries: tuple[Sum, ...]
    keys: tuple[Sum, ...]
    copies: tuple[int, ...]
    mask: str = ""


@dataclass
class Encoder:
    """An encoder that is being written, or is complete.

    ``start``: whether a position of index 0 without a letter stands before the word. ``output``: the coordinate that is 1 where
    the formula is true and 0 elsewhere; the word is accepted if it exceeds 1/2 at the first letter.
    """

    alphabet: str
    kind: str
    start: bool = False
    encodings: list[Encoding] = field(default_factory=list)
    layers: list[Affine | Attention] = field(default_factory=list)
    output: int = -1
    _named: dict[str, int] = field(default_factory=dict)
    _width: int = 0

    @property
    def width(self) -> int:
        """Coordinates of a position after the last layer."""
        return len(self.alphabet) + len(self.encodings) + self._width

    @property
    def depth(self) -> int:
        """Attention layers."""
        return sum(isinstance(layer, Attention) for layer in self.layers)

    def encoding(self, name: str, of: Encoding) -> int:
        """The coordinate of a positional encoding, made once for each name; all must be made before the first layer."""
        if name not in self._named:
            if self.layers:
                raise RuntimeError(f"the encoding {name!r} comes after a layer: coordinates are numbered in order")
            self._named[name] = len(self.alphabet) + len(self.encodings)
            self.encodings.append(of)
        return self._named[name]

    def affine(self, *terms: tuple[int, Number], constant: Number = 0, relu: bool = False) -> int:
        """Append ``constant + sum of weight times coordinate`` (or its positive part); returns the new coordinate."""
        self.layers.append(Affine((terms, constant), relu))
        self._width += 1
        return self.width - 1

    def attend(
        self, queries: Sequence[Sum], keys: Sequence[Sum], copies: Sequence[int], mask: str = ""
    ) -> tuple[int, ...]:
        """Append an attention layer; returns the coordinates of the copies."""
        first = self.width
        self.layers.append(Attention(tuple(queries), tuple(keys), tuple(copies), mask))
        self._width += len(copies)
        return tuple(range(first, first + len(copies)))

    def invert(self, x: int) -> int:
        """1 - x."""
        return self.affine((x, -1), constant=1)

    def both(self, x: int, y: int) -> int:
        """x and y, for coordinates in {0, 1}: ReLU(x + y - 1)."""
        return self.affine((x, 1), (y, 1), constant=-1, relu=True)

    def either(self, x: int, y: int) -> int:
        """x or y: 1 - ReLU(1 - x - y)."""
        return self.invert(self.affine((x, -1), (y, -1), constant=1, relu=True))

    def at_least(self, terms: Sequence[tuple[int, Number]], bound: int) -> int:
        """Whether a sum that is a whole number is at least ``bound``: ReLU(s - bound + 1) - ReLU(s - bound)."""
        above = self.affine(*terms, constant=1 - bound, relu=True)
        far = self.affine(*terms, constant=-bound, relu=True)
        return self.affine((above, 1), (far, -1))

    def text(self, lengths: Sequence[int]) -> str:
        """The encoder as JSON, with its encodings tabled for words of these lengths: what a simulator runs.

        Fractions are written "1/3". Keys: ``alphabet, kind, start, output, layers`` and ``encodings``, a table
        ``[index][coordinate]`` for each length.
        """
        tables = {str(n): [[_plain(of(i, n)) for of in self.encodings] for i in range(n + self.start)] for n in lengths}
        layers = []
        for layer in self.layers:
            if isinstance(layer, Affine):
                layers.append({"sum": _plain_sum(layer.sum), "relu": layer.relu})
            else:
                layers.append(
                    {
                        "queries": [_plain_sum(each) for each in layer.queries],
                        "keys": [_plain_sum(each) for each in layer.keys],
                        "copies": list(layer.copies),
                        "mask": layer.mask,
                    }
                )
        record = {"alphabet": self.alphabet, "kind": self.kind, "start": self.start, "output": self.output}
        return json.dumps(record | {"layers": layers, "encodings": tables}, separators=(",", ":"))


def _plain(x: Number) -> int | str:
    return int(x) if Fraction(x).denominator == 1 else str(Fraction(x))


def _plain_sum(each: Sum) -> list:
    return [[[k, _plain(weight)] for k, weight in each[0]], _plain(each[1])]
