r"""What instruments read: the arrays of a model on some prompts, checked once, with padding dropped.

A *site* is a named array of the model; B prompts, T tokens, H heads:

======================================  ==============================  =========================================
site                                    axes                            is
======================================  ==============================  =========================================
``embed``, ``L3.pre``, ``.mid``,        (batch, token, dim)             the residual stream; ``L3.mlp`` what the MLP
``.post``, ``.mlp``, ``.bias``                                          adds, ``L3.bias`` the constant of W_O
``L3.attention_sum``, ``.mlp_sum``      (batch, token, dim)             what a LayerNorm that comes *after* attention,
                                                                        after the MLP reads (BERT)
``L3.q``, ``.k``, ``.v``                (batch, head, token, head_dim)  as they enter the score (rotated)
``L3.scores``, ``.pattern``             (batch, head, query, key)       before and after the softmax
``L3.z``                                (batch, head, token, head_dim)  pattern times v, *before* W_O
``L3.heads``                            (batch, head, token, dim)       z W_O
``L3.received``, ``.received_late``     (batch, head, key)              sum of a key's weights over the queries; their
                                                                        mean over the last n // 4
``L3.late_scores``                      (batch, head, key)              mean score over the last n // 4 queries, nats
``L3.first_weight``, ``.first_lead``    (batch, head, query)            weight of the first token; its score minus the
                                                                        mean of the other visible ones, nats
``final``, ``logits``                   (batch, token, ...)             after the last norm; the output
======================================  ==============================  =========================================

A *model* is a function ``run(inputs, sites=(), replace={}) -> {site: array}``: pure, no hook stays behind; ``replace`` maps a
site to an array or to a function of the array. ``L3.H5.z`` is one head of a site. What is read from ``received`` to
``first_lead`` takes no map: ``simulators.outside.sink_sites`` makes them on the fused kernels.

Positions count from the first real token, and padded rows *and* columns are dropped before anything is read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attnlab.analysis.suggestions import did_you_mean

Run = Callable[..., dict[str, np.ndarray]]

MAPS = ("pattern", "scores")
PER_HEAD = ("q", "k", "v", "z", "heads", *MAPS)
REDUCED = ("received", "received_late", "late_scores", "first_weight", "first_lead")
STREAM = ("pre", "mid", "post", "mlp", "bias", "attention_sum", "mlp_sum")
WHOLE = ("embed", "final", "logits")
ROW_SUM = 2e-4  # a float32 row of 1024 keys is summed to within 1024 eps = 1.2e-4
ROW_SUM_OF_HALF = 1e-3  # every weight is rounded by half of eps = 9.8e-4, and the smallest by 2^-25 each
INVISIBLE = 1e-8  # below the smallest weight that float32 resolves beside 1
_SITE = re.compile(r"L(\d+)\.(\w+)")


@dataclass(frozen=True)
class Group:
    """Prompts of equal length: their indices, and the positions of their real tokens (prompt, token), None if all are real."""

    prompts: np.ndarray
    at: np.ndarray | None
    length: int


@dataclass(frozen=True)
class Readings:
    """Arrays of one model on B prompts of T tokens; axes as the table above says.

    ``real`` (B, T): True on tokens, False on padding, left or right (None: all real). ``visible`` (B or 1, H or 1, T, T): which
    keys a query may see; None means causal. ``tokens`` (B, T), ``periods`` (B,) where the prompts are repeats, ``mass``: site ->
    (B, H, T), the sum of a pattern's rows where it is not 1 (learned sinks take a share).

    Errors: ``ValueError`` that names site, prompt and what to do, for arrays that are not finite, of another shape, negative
    weights, rows of another sum, weight on an invisible key, no prompt, a prompt of padding only, or padding between tokens.
    """

    sites: Mapping[str, np.ndarray]
    real: np.ndarray | None = None
    visible: np.ndarray | None = None
    tokens: np.ndarray | None = None
    periods: np.ndarray | None = None
    mass: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError("sites is empty; give at least one array, for example {'L0.pattern': A}")
        shape = None
        for name, array in self.sites.items():
            kind = _kind(name)
            axes = 4 if kind in PER_HEAD else 3
            if not isinstance(array, np.ndarray) or array.ndim != axes or array.dtype.kind != "f":
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(f"site {name!r} must be a float array with {axes} axes, got {got}")
            here = (array.shape[0], array.shape[_token_axis(kind)])
            if shape is not None and here != shape:
                raise ValueError(f"site {name!r} has (batch, token) = {here}, the sites before it {shape}")
            if kind in MAPS and array.shape[-1] != here[1]:
                raise ValueError(
                    f"site {name!r} has {here[1]} queries and {array.shape[-1]} keys; give whole sequences"
                )
            shape = here
        n_prompts, n_tokens = shape
        if n_prompts == 0 or n_tokens == 0:
            raise ValueError(f"the batch is empty: (batch, token) = {shape}; give at least one prompt")
        expected = {"real": (n_prompts, n_tokens), "tokens": (n_prompts, n_tokens), "periods": (n_prompts,)}
        for name, wanted in expected.items():
            given = getattr(self, name)
            if given is not None and np.shape(given) != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {np.shape(given)}")
        if self.visible is not None:
            seen = self.visible.shape
            if len(seen) != 4 or seen[0] not in (1, n_prompts) or seen[2:] != (n_tokens, n_tokens):
                raise ValueError(f"visible must have shape (batch or 1, head or 1, {n_tokens}, {n_tokens}), got {seen}")
        for name in self.sites:
            self._check(name)

    @property
    def n_prompts(self) -> int:
        """Number of prompts, the unit of replication."""
        return next(iter(self.sites.values())).shape[0]

    @property
    def n_tokens(self) -> int:
        """Number of tokens of a prompt with its padding."""
        name, array = next(iter(self.sites.items()))
        return array.shape[_token_axis(_kind(name))]

    @functools.cached_property
    def groups(self) -> tuple[Group, ...]:
        """The prompts by their number of real tokens."""
        every = np.arange(self.n_prompts)
        if self.real is None or self.real.all():
            return (Group(every, None, self.n_tokens),)
        lengths = self.real.sum(1)
        if (bare := np.flatnonzero(lengths == 0)).size:
            raise ValueError(f"prompt {bare[0]} is all padding: real has no True in its row; leave it out")
        first = self.real.argmax(1)
        at = first[:, None] + np.arange(self.n_tokens)
        for prompt in every:
            if not self.real[prompt, first[prompt] : first[prompt] + lengths[prompt]].all():
                raise ValueError(
                    f"prompt {prompt} has padding between its tokens; padding may stand left and right only"
                )
        return tuple(Group(every[lengths == n], at[lengths == n, :n], int(n)) for n in np.unique(lengths))

    def layers(self, kind: str) -> tuple[int, ...]:
        """The layers that have a site of this kind, ascending; ``ValueError`` if none has."""
        found = sorted(int(m[1]) for name in self.sites if (m := _SITE.fullmatch(name)) and m[2] == kind)
        if not found:
            near = did_you_mean(kind, {name.rpartition(".")[2] for name in self.sites})
            raise ValueError(f"no site 'L0.{kind}' among {', '.join(sorted(self.sites)[:8])}{near}; record it")
        return tuple(found)

    def has(self, *kinds: str) -> bool:
        """Whether each of these kinds (``"pattern"``, ``"logits"``) is recorded."""
        return all(any(name.rpartition(".")[2] == kind for name in self.sites) for kind in kinds)

    def array(self, name: str, group: Group) -> np.ndarray:
        """A site on the real tokens of a group: padded rows dropped, and padded columns of maps; in float32 at least."""
        if name not in self.sites:
            raise ValueError(f"no site {name!r}{did_you_mean(name, self.sites)}; record it")
        found, kind = self.sites[name], _kind(name)
        if found.dtype.itemsize < 4:  # sums of half precision are taken in float32
            found = found.astype(np.float32)
        if group.at is None:
            return found
        found = found[group.prompts]
        if kind in REDUCED:
            return np.take_along_axis(found, group.at[:, None], 2)
        if kind not in PER_HEAD:
            return np.take_along_axis(found, group.at[:, :, None], 1)
        found = np.take_along_axis(found, group.at[:, None, :, None], 2)
        return np.take_along_axis(found, group.at[:, None, None, :], 3) if kind in MAPS else found

    def seen(self, group: Group) -> np.ndarray:
        """Which keys a query sees, (b or 1, H or 1, n, n), on the real tokens of a group."""
        if self.visible is None:
            return np.tri(group.length, dtype=bool)[None, None]
        found = self.visible if group.at is None or len(self.visible) == 1 else self.visible[group.prompts]
        if group.at is None:
            return found
        found = np.broadcast_to(found, (len(group.at), *found.shape[1:]))
        found = np.take_along_axis(found, group.at[:, None, :, None], 2)
        return np.take_along_axis(found, group.at[:, None, None, :], 3)

    def each_layer(self, kind: str, read: Callable[..., Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """``read(array (b, H, n, ...), seen, group) -> {name: (b, H, ...)}`` on every layer, as ``{name: (B, L, H, ...)}``.

        One layer is in memory at a time.
        """
        found: dict[str, np.ndarray] = {}
        layers = self.layers(kind)
        for number, layer in enumerate(layers):
            for group in self.groups:
                for name, part in read(self.array(f"L{layer}.{kind}", group), self.seen(group), group).items():
                    if name not in found:
                        found[name] = np.empty((self.n_prompts, len(layers), *part.shape[1:]), dtype=np.float64)
                    if found[name].shape[2:] != part.shape[1:]:
                        raise ValueError(
                            f"layer {layer} gives {name} of shape {part.shape[1:]}, the layers before it "
                            f"{found[name].shape[2:]}; read layers with other numbers of heads apart"
                        )
                    found[name][group.prompts, number] = part
        return found

    def log_weights(self) -> str:
        """The kind of map from which differences of scores are read: ``"scores"`` if recorded, else ``"pattern"``."""
        return "scores" if self.has("scores") else "pattern"

    def log_weights_of(self, a: np.ndarray, seen: np.ndarray, group: Group) -> np.ndarray:
        """ln of weights (b, H, n, n) on the keys that are seen, 0 elsewhere.

        Errors: ``ValueError`` for a weight of exactly 0 on a key that is seen: how small it was is lost (a float32 softmax
        underflows 104 nats below the largest score), and any value in its place would be read as a strength.
        """
        if (lost := (a <= 0) & seen).any():
            where = tuple(int(i) for i in np.argwhere(lost)[0])
            raise ValueError(
                f"{lost.sum()} weights on visible keys are exactly 0, the first at {_where(group, where)}: their logarithm is "
                "lost; record scores beside the pattern, or give visible= if these keys are hidden"
            )
        return np.log(np.where(seen, a, 1.0))

    def _check(self, name: str) -> None:
        for group in self.groups:
            found = self.array(name, group)
            if _kind(name) == "scores":
                found = np.where(self.seen(group), found, 0.0)
            if not np.isfinite(found).all():
                where = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
                raise ValueError(f"site {name!r} is {found[where]} at {_where(group, where)}; a model that diverged?")
            if _kind(name) != "pattern":
                continue
            if (found < 0).any():
                where = tuple(int(i) for i in np.argwhere(found < 0)[0])
                raise ValueError(f"site {name!r} has the negative weight {found[where]:.3g} at {_where(group, where)}")
            hidden = np.where(self.seen(group), 0.0, found)
            if (hidden > INVISIBLE).any():
                where = tuple(int(i) for i in np.argwhere(hidden > INVISIBLE)[0])
                raise ValueError(
                    f"site {name!r} puts weight {found[where]:.3g} on an invisible key at {_where(group, where)}; "
                    "give visible= (None means causal) and real="
                )
            total = found.sum(-1, dtype=np.float64)
            wanted: Any = 1.0
            if name in self.mass:
                wanted = self.mass[name] if group.at is None else self.mass[name][group.prompts]
                wanted = wanted if group.at is None else np.take_along_axis(wanted, group.at[:, None], 2)
            gap = np.abs(total - wanted)
            budget = ROW_SUM if self.sites[name].dtype.itemsize >= 4 else ROW_SUM_OF_HALF
            if (gap > budget).any():
                where = tuple(int(i) for i in np.argwhere(gap > budget)[0])
                raise ValueError(
                    f"a row of site {name!r} sums to {total[where]:.4g} at {_where(group, where)}; use eval mode (dropout "
                    "scales rows), or give mass= where a learned sink takes a share"
                )


def maps(weights: np.ndarray, scores: np.ndarray | None = None, **given: Any) -> Readings:
    """Readings of stacked maps: ``weights`` (batch, layer, head, query, key) and ``scores``; ``given`` as in the record."""
    if weights.ndim != 5:
        raise ValueError(f"weights must have axes (batch, layer, head, query, key), got shape {weights.shape}")
    sites = {f"L{layer}.pattern": weights[:, layer] for layer in range(weights.shape[1])}
    if scores is not None:
        sites |= {f"L{layer}.scores": scores[:, layer] for layer in range(weights.shape[1])}
    return Readings(sites, **given)


def padded(readings: Readings, left: int, right: int) -> Readings:
    """The same prompts with padding of ``left`` and ``right`` tokens: padded rows uniform, as eager attention leaves them."""
    if readings.real is not None:
        raise ValueError("readings are padded already")
    total = readings.n_tokens + left + right
    inside = slice(left, left + readings.n_tokens)
    real = np.zeros((readings.n_prompts, total), dtype=bool)
    real[:, inside] = True
    sites = {}
    for name, array in readings.sites.items():
        kind = _kind(name)
        shape = list(array.shape)
        shape[_token_axis(kind)] = total
        if kind in MAPS:
            shape[3] = total
        made = np.full(shape, 1 / total if kind == "pattern" else 7.0, dtype=array.dtype)
        if kind in MAPS:
            made[:, :, inside] = 0.0
            made[:, :, inside, inside] = array
        elif kind in PER_HEAD or kind in REDUCED:
            made[:, :, inside] = array
        else:
            made[:, inside] = array
        sites[name] = made
    visible = None
    if readings.visible is not None:
        visible = np.zeros((*readings.visible.shape[:2], total, total), dtype=bool)
        visible[:, :, inside, inside] = readings.visible
    tokens = None if readings.tokens is None else np.pad(readings.tokens, ((0, 0), (left, right)))
    mass = {name: np.pad(array, ((0, 0), (0, 0), (left, right))) for name, array in readings.mass.items()}
    return Readings(sites, real, visible, tokens, readings.periods, mass)


def chosen(readings: Readings, prompts: np.ndarray) -> Readings:
    """The readings of some prompts, by index, in this order."""

    def take(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[prompts]

    visible = readings.visible
    return replace(
        readings,
        sites={name: array[prompts] for name, array in readings.sites.items()},
        real=take(readings.real),
        visible=visible if visible is None or len(visible) == 1 else visible[prompts],
        tokens=take(readings.tokens),
        periods=take(readings.periods),
        mass={name: array[prompts] for name, array in readings.mass.items()},
    )


def _kind(name: str) -> str:
    found = _SITE.fullmatch(name)
    kind = found[2] if found else name
    of_layer = (*PER_HEAD, *REDUCED, *STREAM)
    if kind not in (of_layer if found else WHOLE):
        known = [*WHOLE, *(f"L0.{each}" for each in of_layer)]
        raise ValueError(f"unknown site {name!r}{did_you_mean(name, known)}; sites are {', '.join(known)}")
    return kind


def _token_axis(kind: str) -> int:
    return 2 if kind in PER_HEAD or kind in REDUCED else 1


def _where(group: Group, where: tuple[int, ...]) -> str:
    return f"prompt {group.prompts[where[0]]}, index {where[1:]} of its real tokens"
