"""In-context classification: a sequence of labelled items of several classes, and an item whose label is asked for.

Reddy 2024 (arXiv 2312.03002), section 2. Items vary around the mean of their class, labels are fixed vectors, and what
the sequences are made of decides whether labels are best read off the context or off the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attnlab.simulators.ensemble.layout import Parameters


@dataclass(frozen=True)
class Sequences:
    """A batch: contents ``(replica, batch, 2 n_context + 1, dim)`` in the order item, label, ..., item, label, target;
    the position ``start`` of the first token and the right ``label`` of the target, ``(replica, batch)``; the labels in
    the context, and which items have the target's class (``match``), ``(replica, batch, n_context)``."""

    contents: Tensor
    start: Tensor
    label: Tensor
    context_labels: Tensor
    match: Tensor


@dataclass(frozen=True, eq=False)
class ClassificationTask:
    r"""Sequences of ``n_context`` item-label pairs and a target; cross-entropy of the target's label.

    An item of class k is :math:`(\mu_k + \epsilon \eta)/\sqrt{1 + \epsilon^2}`, the entries of eta normal with variance
    1/dim, fresh for every occurrence. Class k has label k mod L. Positions are a window of ``n_positions`` with a uniform
    start.

    A *bursty* sequence holds ``n_context / burstiness`` classes, each ``burstiness`` times, in random order, and the
    target is of one of them; their labels differ, uniformly chosen, and so is the class with the label. Without
    ``distinct_labels`` these classes are drawn independently from the rank-frequency law P(k) ~ (k + 1)^(-rank_exponent).
    In other sequences all items and the target are independent draws of that law.

    Args:
        classes: means ``(replica, K, dim)``; labels: vectors ``(replica, L, dim)``; L divides K and ``n_novel``.
        p_bursty: share of bursty sequences. p_novel: share of sequences, always bursty with distinct labels, of *novel*
            classes, of which ``n_novel`` are drawn for every batch.
        label_shift: labels in the context and the right answer are moved on by so many.
        batch: sequences per step.
    """

    classes: Tensor
    labels: Tensor
    n_context: int
    n_positions: int
    batch: int
    within_class_noise: float = 0.1
    burstiness: int = 1
    p_bursty: float = 1.0
    p_novel: float = 0.0
    rank_exponent: float = 0.0
    n_novel: int = 128
    distinct_labels: bool = True
    label_shift: int = 0

    def __post_init__(self) -> None:
        for name in ("p_bursty", "p_novel"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} is not a share; use 0 <= {name} <= 1")
        L = self.n_labels
        for name, count in (("n_classes", self.n_classes), ("n_novel", self.n_novel)):
            if count % L or not count:
                raise ValueError(f"{name}={count!r} is not a multiple of n_labels={L}; use {L * max(1, count // L)}")
        if not 1 <= self.burstiness <= self.n_context or self.n_context % self.burstiness:
            raise ValueError(f"burstiness={self.burstiness!r} does not divide n_context={self.n_context}")
        if (self.p_bursty or self.p_novel) and self.n_context // self.burstiness > L:
            raise ValueError(
                f"n_context={self.n_context} with burstiness={self.burstiness} needs as many labels, but "
                f"n_labels={L}; use more labels or a larger burstiness"
            )
        if self.n_tokens > self.n_positions:
            raise ValueError(
                f"n_positions={self.n_positions!r} is below the {self.n_tokens} tokens; use more positions"
            )

    @property
    def dim(self) -> int:
        """Size of a content."""
        return self.classes.shape[-1]

    @property
    def n_classes(self) -> int:
        """Number K of classes."""
        return self.classes.shape[1]

    @property
    def n_labels(self) -> int:
        """Number L of labels."""
        return self.labels.shape[1]

    @property
    def n_tokens(self) -> int:
        """Tokens of a sequence."""
        return 2 * self.n_context + 1

    @property
    def numbers_per_step(self) -> int:
        return sum(self._sizes())

    def part(self, rows: slice) -> ClassificationTask:
        return replace(self, classes=self.classes[rows], labels=self.labels[rows])

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Uniform numbers for the choices, then normal ones for the items."""
        n_uniform = sum(self._sizes()[:4])
        numbers[:, :n_uniform].uniform_(generator=stream)
        numbers[:, n_uniform:].normal_(generator=stream)

    def sequences(self, numbers: Tensor) -> Sequences:
        """Sequences from the numbers of :meth:`fill`, ``(replica, numbers_per_step)``."""
        R, B, N, L, D = len(numbers), self.batch, self.n_context, self.n_labels, self.dim
        kinds, order, ranks, which, noise, means = numbers.split(self._sizes(), dim=1)
        kinds, order, ranks, which = (part.view(R, B, -1) for part in (kinds, order, ranks, which))
        novel = kinds[..., 0] < self.p_novel  # (replica, batch)
        bursty = novel | (kinds[..., 1] < self.p_bursty)
        classes = self._classes(order, ranks, which, kinds[..., 3], novel, bursty)  # (replica, batch, N + 1)
        items = self._means(classes, novel, means.view(R, -1, D) / D**0.5)
        if self.within_class_noise:
            scale = self.within_class_noise / D**0.5
            items = (items + scale * noise.view(R, B, N + 1, D)) / (1 + self.within_class_noise**2) ** 0.5
        labels = (classes + self.label_shift) % L
        vectors = _looked_up(self.labels.to(numbers), labels[..., :-1])
        pairs = torch.stack([items[:, :, :-1], vectors], dim=3).view(R, B, 2 * N, D)
        return Sequences(
            torch.cat([pairs, items[:, :, -1:]], dim=2),
            _below(kinds[..., 2], self.n_positions - self.n_tokens + 1),
            labels[..., -1],
            labels[..., :-1],
            classes[..., :-1] == classes[..., -1:],
        )

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Mean cross-entropy ``(replica,)`` of ``model(parameters, contents, start)``, the logits."""
        batch = self.sequences(numbers)
        logits = model(parameters, batch.contents, batch.start)
        return (
            cross_entropy(logits.flatten(0, 1), batch.label.flatten(), reduction="none").view(len(numbers), -1).mean(1)
        )

    def largest_array(self, model: Any) -> int:
        return self.batch * self.n_tokens * (self.dim + self.n_positions)

    def _sizes(self) -> list[int]:
        """Numbers of each kind in a step: four choices per sequence, order of pairs, order of labels, classes; noise, means."""
        B, N = self.batch, self.n_context
        return [
            4 * B,
            N * B,
            self.n_labels * B,
            (N + 1) * B,
            (N + 1) * B * self.dim if self.within_class_noise else 0,
            self.n_novel * self.dim if self.p_novel else 0,
        ]

    def _classes(
        self, order: Tensor, ranks: Tensor, which: Tensor, target: Tensor, novel: Tensor, bursty: Tensor
    ) -> Tensor:
        """The classes of the items and of the target; those of novel sequences count the novel classes."""
        N, L = self.n_context, self.n_labels
        distinct, by_rank = N // self.burstiness, self._by_rank(which)
        groups = by_rank[..., :distinct]
        if self.distinct_labels or self.p_novel:
            labels = ranks.topk(distinct, largest=False).indices  # distinct and in random order
            u = which[..., :distinct]
            new, old = (labels + L * _below(u, count // L) for count in (self.n_novel, self.n_classes))
            groups = torch.where(novel[..., None], new, old if self.distinct_labels else groups)
        slots = order.argsort(dim=-1) // self.burstiness
        chosen = torch.cat([slots, _below(target, distinct)[..., None]], dim=-1)
        return torch.where(bursty[..., None], groups.gather(2, chosen), by_rank)

    def _by_rank(self, u: Tensor) -> Tensor:
        """Independent draws of the rank-frequency law; zeros where no sequence uses them."""
        if self.distinct_labels and 1 in (self.p_bursty, self.p_novel):
            return torch.zeros_like(u, dtype=torch.long)
        law = torch.arange(1, self.n_classes + 1, dtype=torch.float64) ** -self.rank_exponent
        steps = (law.cumsum(0) / law.sum()).to(u)
        return torch.searchsorted(steps, u.contiguous(), right=True).clamp_max(self.n_classes - 1)

    def _means(self, classes: Tensor, novel: Tensor, new: Tensor) -> Tensor:
        """Means of the given classes, ``(replica, batch, N + 1, dim)``."""
        if self.p_novel == 1:
            return _looked_up(new, classes)
        old = _looked_up(self.classes.to(new), classes.clamp_max(self.n_classes - 1))
        if not self.p_novel:
            return old
        return torch.where(novel[..., None, None], _looked_up(new, classes.clamp_max(self.n_novel - 1)), old)


def make_task(setting: Any, classes: torch.Tensor, labels: torch.Tensor) -> ClassificationTask:
    """The task of a setting with the given means and label vectors; its errors name the field that does not fit."""
    return ClassificationTask(
        classes,
        labels,
        n_context=setting.n_context,
        n_positions=setting.n_positions,
        batch=setting.batch,
        within_class_noise=setting.within_class_noise,
        burstiness=setting.burstiness,
        p_bursty=setting.p_bursty,
        p_novel=setting.p_novel,
        rank_exponent=setting.rank_exponent,
        n_novel=setting.n_novel,
        distinct_labels=setting.distinct_labels,
    )


def tables(
    streams: Sequence[torch.Generator], n_classes: int, n_labels: int, dim: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Class means ``classes (replica, n_classes, dim)`` and label vectors ``labels (replica, n_labels, dim)``, the entries
    normal with variance 1/dim, those of replica r from stream r only."""
    both = torch.stack(
        [
            torch.empty(n_classes + n_labels, dim, dtype=dtype).normal_(0, dim**-0.5, generator=stream)
            for stream in streams
        ]
    )
    return {"classes": both[:, :n_classes].contiguous(), "labels": both[:, n_classes:].contiguous()}


def _below(u: Tensor, count: int) -> Tensor:
    """Whole numbers from 0 to ``count - 1`` from uniform ones."""
    return (u * count).long().clamp_max(count - 1)


def _looked_up(table: Tensor, index: Tensor) -> Tensor:
    """``table[r, index[r, ...]]`` for a table ``(replica, row, dim)``."""
    rows = index.flatten(1)[..., None].expand(-1, -1, table.shape[-1])
    return table.gather(1, rows).view(*index.shape, table.shape[-1])
