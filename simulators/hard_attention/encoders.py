r"""An encoder given as data is run on words: exactly, as whole numbers over one denominator a coordinate, or in float64.

The data (JSON): ``alphabet``, ``kind`` ("unique" or "average"), ``start``, ``output``, ``encodings[n][index][coordinate]`` and
``layers``, each ``{"sum": [[[coordinate, weight], ...], constant], "relu": bool}`` or ``{"queries", "keys": sums, "copies",
"mask"}``; numbers are whole or "p/q". Attention layer: position i scores j by ``<A x_i, B x_j>``; the copies come from the
leftmost j of the largest score, or are the mean over all of them.

Exactness: a coordinate is an integer array and one common denominator. An average over m ties multiplies the denominator by
lcm(1..N). Integers are int64 while a bound on their size allows it, Python's beyond. Memory: O(words N^2) a layer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

_SAFE = 2**62


@dataclass(frozen=True)
class Exact:
    """``numerators / denominator``; ``largest`` bounds the absolute numerators."""

    numerators: np.ndarray
    denominator: int
    largest: int

    @staticmethod
    def of(values: np.ndarray, denominator: int, largest: int) -> Exact:
        """In the narrowest type that holds numbers up to ``largest``."""
        return Exact(values.astype(object if largest >= _SAFE else np.int64), denominator, largest)


def all_words(n_letters: int, length: int) -> np.ndarray:
    """Every word of one length as numbers of letters, shape (word, position), in lexicographic order."""
    return np.array(list(product(range(n_letters), repeat=length)), dtype=np.int64).reshape(-1, length)


def read_encoder(text: str) -> dict[str, Any]:
    """The encoder that a text holds; ValueError if it is none."""
    try:
        record = json.loads(text)
        missing = {"alphabet", "kind", "start", "output", "layers", "encodings"} - set(record)
    except (ValueError, TypeError) as error:
        raise ValueError(f"an encoder is JSON text, got {text!r:.80}: {error}") from None
    if missing or record["kind"] not in ("unique", "average"):
        raise ValueError(f"an encoder needs {', '.join(sorted(missing)) or 'kind unique or average'}, got {text!r:.80}")
    return record


def run_exactly(encoder: dict[str, Any], words: np.ndarray) -> np.ndarray:
    """What the output says at every letter of every word, shape (word, position): 0, 1, or 2 if it is neither number."""
    columns = [Exact.of(column, 1, 1) for column in _letters(encoder, words)]
    for table in np.array(_table(encoder, words), dtype=object).T:
        denominator = math.lcm(*[value.denominator for value in table])
        row = np.array([int(value * denominator) for value in table], dtype=object)
        largest = max(abs(int(value)) for value in row)
        columns.append(Exact.of(np.broadcast_to(row, (len(words), row.size)), denominator, largest))
    for layer in encoder["layers"]:
        if "sum" in layer:
            columns.append(_sum_exactly(layer["sum"], columns, layer["relu"]))
        else:
            columns += _attend_exactly(layer, columns, encoder["kind"])
    found = columns[encoder["output"]]
    numerators = found.numerators[:, int(encoder["start"]) :]
    return np.where(numerators == 0, 0, np.where(numerators == found.denominator, 1, 2)).astype(np.int8)


def run_in_floats(encoder: dict[str, Any], words: np.ndarray, inverse_temperature: float = math.inf) -> np.ndarray:
    """The same in float64, shape (word, position); a finite ``inverse_temperature`` beta puts softmax(beta scores) in place of
    hard attention. Ties are those of equal floats."""
    columns = [column.astype(np.float64) for column in _letters(encoder, words)]
    table = np.array([[float(value) for value in row] for row in _table(encoder, words)])
    columns += [np.broadcast_to(column, words.shape[:1] + column.shape) for column in table.T]
    for layer in encoder["layers"]:
        if "sum" in layer:
            value = _sum_in_floats(layer["sum"], columns)
            columns.append(np.maximum(value, 0.0) if layer["relu"] else value)
            continue
        queries, keys = ([_sum_in_floats(each, columns) for each in layer[name]] for name in ("queries", "keys"))
        scores = sum(q[:, :, None] * k[:, None, :] for q, k in zip(queries, keys, strict=True))
        scores = np.where(_visible(layer["mask"], scores.shape[-1]), scores, -np.inf)
        top = scores.max(-1, keepdims=True)
        if math.isfinite(inverse_temperature):
            weights = np.exp(inverse_temperature * (scores - top))
        else:
            weights = (scores == top).astype(np.float64)
            if encoder["kind"] == "unique":
                weights *= np.cumsum(weights, axis=-1) == 1
        weights /= weights.sum(-1, keepdims=True)
        columns += [np.einsum("wij,wj->wi", weights, columns[k]) for k in layer["copies"]]
    return columns[encoder["output"]][:, int(encoder["start"]) :]


def _letters(encoder: dict[str, Any], words: np.ndarray) -> list[np.ndarray]:
    """One-hot letters (word, index), all zero at the start."""
    made = []
    for k in range(len(encoder["alphabet"])):
        hot = (words == k).astype(np.int64)
        made.append(np.pad(hot, ((0, 0), (1, 0))) if encoder["start"] else hot)
    return made


def _table(encoder: dict[str, Any], words: np.ndarray) -> list[list[Fraction]]:
    length = str(words.shape[1])
    if length not in encoder["encodings"]:
        raise ValueError(f"the encoder has encodings for lengths {', '.join(encoder['encodings'])}, not {length}")
    return [[Fraction(value) for value in row] for row in encoder["encodings"][length]]


def _visible(mask: str, size: int) -> np.ndarray:
    i, j = np.arange(size)[:, None], np.arange(size)[None, :]
    return {"": np.ones((size, size), bool), "past": j <= i, "future": j >= i}[mask]


def _sum_exactly(each: list, columns: list[Exact], relu: bool) -> Exact:
    terms, constant = [(k, Fraction(weight)) for k, weight in each[0]], Fraction(each[1])
    denominator = math.lcm(constant.denominator, *[columns[k].denominator * weight.denominator for k, weight in terms])
    factors = [int(weight * denominator / columns[k].denominator) for k, weight in terms]
    shift = int(constant * denominator)
    largest = abs(shift) + sum(abs(f) * columns[k].largest for f, (k, _) in zip(factors, terms, strict=True))
    kind = object if largest >= _SAFE else np.int64
    total = np.full(columns[0].numerators.shape, shift, dtype=kind)
    for factor, (k, _) in zip(factors, terms, strict=True):
        total = total + factor * columns[k].numerators.astype(kind)
    return Exact.of(np.maximum(total, 0) if relu else total, denominator, largest)


def _sum_in_floats(each: list, columns: list[np.ndarray]) -> np.ndarray:
    total = np.full(columns[0].shape, float(Fraction(each[1])))
    for k, weight in each[0]:
        total = total + float(Fraction(weight)) * columns[k]
    return total


def _attend_exactly(layer: dict[str, Any], columns: list[Exact], kind: str) -> list[Exact]:
    queries, keys = ([_sum_exactly(each, columns, False) for each in layer[name]] for name in ("queries", "keys"))
    denominator = math.lcm(*[q.denominator * k.denominator for q, k in zip(queries, keys, strict=True)])
    factors = [denominator // (q.denominator * k.denominator) for q, k in zip(queries, keys, strict=True)]
    largest = sum(f * q.largest * k.largest for f, q, k in zip(factors, queries, keys, strict=True))
    dtype = object if largest >= _SAFE else np.int64
    scores: Any = 0
    for factor, q, k in zip(factors, queries, keys, strict=True):
        scores = scores + factor * (q.numerators.astype(dtype)[:, :, None] * k.numerators.astype(dtype)[:, None, :])
    seen = _visible(layer["mask"], scores.shape[-1])
    best = np.where(seen, scores, -largest - 1) == np.where(seen, scores, -largest - 1).max(-1, keepdims=True)
    best = best & seen
    if kind == "unique":
        at = best.argmax(-1)
        return [_taken(columns[k], at) for k in layer["copies"]]
    common = math.lcm(*range(1, best.shape[-1] + 1))
    shares = common // best.sum(-1)  # times the sum over ties, over common: their mean
    made = []
    for k in layer["copies"]:
        column = columns[k]
        bound = column.largest * common
        size = object if bound >= _SAFE else np.int64
        total = (best * column.numerators.astype(size)[:, None, :]).sum(-1)
        numerators = total * shares.astype(size)
        shrink = math.gcd(common * column.denominator, *np.unique(numerators).tolist())
        made.append(Exact.of(numerators // shrink, common * column.denominator // shrink, bound // shrink + 1))
    return made


def _taken(column: Exact, at: np.ndarray) -> Exact:
    return Exact.of(np.take_along_axis(column.numerators, at, axis=1), column.denominator, column.largest)
