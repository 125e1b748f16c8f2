"""The plain records of the induction step: sizes, law of the sequences, state, data, optimiser; all checked at the door."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MATRICES = ("Q1", "K1", "V1", "Q2", "K2", "V2", "W1", "W2", "W3")
NAMES = (*MATRICES, "b", "R")
WORD = 2**32


@dataclass(frozen=True)
class Shape:
    """Sizes of task and model: ``n_context`` pairs and a target, contents in R^dim, a batch of sequences per step."""

    dim: int
    n_context: int
    n_positions: int
    n_labels: int
    batch: int

    def __post_init__(self):
        for name in ("dim", "n_context", "n_positions", "n_labels", "batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer")
        if self.n_positions < self.n_tokens:
            raise ValueError(
                f"n_positions={self.n_positions} is less than the {self.n_tokens} tokens of a sequence; "
                f"use at least 2 n_context + 1 = {self.n_tokens}"
            )

    @property
    def n_tokens(self) -> int:
        """Tokens of a sequence."""
        return 2 * self.n_context + 1

    @property
    def n_embd(self) -> int:
        """Size of a token, n = n_positions + dim."""
        return self.n_positions + self.dim

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters of one replica, in the order in which they lie in a row of parameters."""
        n = self.n_embd
        return {**{name: (n, n) for name in MATRICES}, "b": (3,), "R": (self.n_labels, n)}

    @property
    def n_parameters(self) -> int:
        """Parameters of one replica."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes().values())


@dataclass(frozen=True)
class Law:
    """What sequences are made of; the names are those of section 2.1 of the paper, written out.

    A sequence is of ``n_novel`` classes drawn for this batch with probability ``p_novel``, else bursty with probability
    ``p_bursty``: n_context / burstiness classes, each ``burstiness`` times in random order, the target of one of them.
    Their labels differ, unless ``distinct_labels`` is off and they are not novel: then they are drawn by rank frequency,
    P(k) ~ (k + 1)^(-rank_exponent), as are all items and the target of other sequences. Class k has label
    (k + label_shift) mod L.
    """

    within_class_noise: float = 0.1
    burstiness: int = 1
    p_bursty: float = 1.0
    p_novel: float = 0.0
    rank_exponent: float = 0.0
    n_novel: int = 128
    distinct_labels: bool = True
    label_shift: int = 0

    def __post_init__(self):
        if not (np.isfinite(self.within_class_noise) and self.within_class_noise >= 0):
            raise ValueError(f"within_class_noise={self.within_class_noise!r} must be finite and not negative")
        for name in ("p_bursty", "p_novel"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} is not a probability; use 0 <= {name} <= 1")
        if not isinstance(self.burstiness, int) or self.burstiness < 1:
            raise ValueError(
                f"burstiness={self.burstiness!r} must be a positive integer; use p_bursty=0 for sequences "
                "without repeated classes"
            )
        if not np.isfinite(self.rank_exponent):
            raise ValueError(f"rank_exponent={self.rank_exponent!r} must be finite")
        if not isinstance(self.label_shift, int) or self.label_shift < 0:
            raise ValueError(f"label_shift={self.label_shift!r} must be an integer of at least 0")

    def check(self, shape: Shape, n_classes: int) -> None:
        """Raise unless the law can make sequences of this shape."""
        if shape.n_context % self.burstiness:
            raise ValueError(f"burstiness={self.burstiness} does not divide n_context={shape.n_context}")
        if (self.p_bursty or self.p_novel) and shape.n_context // self.burstiness > shape.n_labels:
            raise ValueError(
                f"n_context={shape.n_context} with burstiness={self.burstiness} needs as many labels, but "
                f"n_labels={shape.n_labels}; use more labels or a larger burstiness"
            )
        for name, count in (("n_classes", n_classes), ("n_novel", self.n_novel)):
            if count < 1 or count % shape.n_labels:
                raise ValueError(f"{name}={count} is not a multiple of n_labels={shape.n_labels}")

    def rank_below(self, n_classes: int) -> np.ndarray:
        """A 32-bit word below entry k, and not below entry k - 1, draws class k."""
        share = np.arange(1, n_classes + 1, dtype=np.float64) ** -self.rank_exponent
        below = np.floor(WORD * (np.cumsum(share) / share.sum())).astype(np.int64)
        below[-1] = WORD
        return below


@dataclass(frozen=True, eq=False)
class State:
    """Parameters (replica, ...), the number of steps done, and where replicas diverged."""

    params: dict[str, np.ndarray]
    step: int
    diverged_at: np.ndarray

    @classmethod
    def start(cls, params: dict[str, np.ndarray]) -> State:
        """The state before the first step."""
        return cls(dict(params), 0, np.full(next(iter(params.values())).shape[0], -1, np.int64))

    @property
    def n_replicas(self) -> int:
        """Number of replicas."""
        return next(iter(self.params.values())).shape[0]

    @property
    def dtype(self) -> str:
        """Name of the parameters' dtype."""
        return str(next(iter(self.params.values())).dtype)

    def check(self, shape: Shape) -> None:
        """Raise unless the arrays are what ``shape`` asks for."""
        if sorted(self.params) != sorted(NAMES):
            raise ValueError(f"parameters are {sorted(self.params)}; expected {sorted(NAMES)}")
        for name, expected in shape.parameter_shapes().items():
            found = self.params[name]
            if found.shape != (self.n_replicas, *expected):
                raise ValueError(
                    f"{name} has shape {found.shape}; expected {(self.n_replicas, *expected)}, replica first"
                )
            if str(found.dtype) != self.dtype or self.dtype not in ("float32", "float64"):
                raise ValueError(f"{name} has dtype {found.dtype}; use float32 or float64 for all parameters")


@dataclass(frozen=True, eq=False)
class Stream:
    """Fresh batches from the counter-based stream: a 64-bit seed per replica, and what is fixed during a run: the class
    means (replica, class, dim) and label vectors (replica, label, dim)."""

    seeds: np.ndarray
    classes: np.ndarray
    labels: np.ndarray
    law: Law

    def check(self, shape: Shape, n_replicas: int) -> None:
        """Raise unless there is one seed and one set of vectors per replica."""
        if np.asarray(self.seeds).dtype != np.uint64 or np.shape(self.seeds) != (n_replicas,):
            raise ValueError(
                f"seeds must be {n_replicas} numbers of dtype uint64, got {np.asarray(self.seeds).dtype} of "
                f"shape {np.shape(self.seeds)}; see replica_seeds"
            )
        _check_vectors("classes", self.classes, (n_replicas, None, shape.dim))
        _check_vectors("labels", self.labels, (n_replicas, shape.n_labels, shape.dim))
        self.law.check(shape, self.classes.shape[1])


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches from outside.

    ``items (replica, step, batch, n_context + 1, dim)``, the target last; numbers of the ``label`` of each item
    ``(replica, step, batch, n_context)`` and of the ``target`` and the position ``start`` of the first token
    ``(replica, step, batch)``; the label vectors ``labels (replica, label, dim)``.
    """

    items: np.ndarray
    label: np.ndarray
    target: np.ndarray
    start: np.ndarray
    labels: np.ndarray

    def check(self, shape: Shape, n_replicas: int, n_steps: int) -> None:
        """Raise unless the arrays cover ``n_steps`` steps."""
        first = (n_replicas, n_steps, shape.batch)
        for name, rest, top in (
            ("items", (shape.n_context + 1, shape.dim), None),
            ("label", (shape.n_context,), shape.n_labels),
            ("target", (), shape.n_labels),
            ("start", (), shape.n_positions - shape.n_tokens + 1),
        ):
            found = getattr(self, name)
            if found.shape != (*first, *rest):
                raise ValueError(
                    f"{name} has shape {found.shape}; expected {(*first, *rest)}, axes (replica, step, batch, ...)"
                )
            if top and not (np.issubdtype(found.dtype, np.integer) and (found >= 0).all() and (found < top).all()):
                raise ValueError(f"{name} must be integers from 0 to {top - 1}")
        _check_vectors("labels", self.labels, (n_replicas, shape.n_labels, shape.dim))

    def at(self, step: int) -> Batches:
        """The batch of one step."""
        part = slice(step, step + 1)
        return Batches(self.items[:, part], self.label[:, part], self.target[:, part], self.start[:, part], self.labels)


@dataclass(frozen=True, eq=False)
class Optimiser:
    """Gradient descent, p <- (1 - decay) p - learning_rate g; both are numbers, or one per replica.

    The decay is a share a step: it is not multiplied by the learning rate.
    """

    learning_rate: float | np.ndarray
    decay: float | np.ndarray = 0.0

    def __post_init__(self):
        for name in ("learning_rate", "decay"):
            value = np.asarray(getattr(self, name))
            if not (np.isfinite(value).all() and (value >= 0).all()):
                raise ValueError(f"{name}={getattr(self, name)!r} must be finite and not negative")

    def check(self, n_replicas: int) -> None:
        """Raise unless there is one number, or one per replica."""
        for name in ("learning_rate", "decay"):
            if np.ndim(getattr(self, name)) and np.shape(getattr(self, name)) != (n_replicas,):
                raise ValueError(
                    f"{name} has shape {np.shape(getattr(self, name))}; expected a number or ({n_replicas},)"
                )

    def each(self, n_replicas: int) -> tuple[np.ndarray, np.ndarray]:
        """Learning rate and decay of each replica in float64."""
        return tuple(np.array(np.broadcast_to(x, (n_replicas,)), np.float64) for x in (self.learning_rate, self.decay))


def replica_seeds(sequences: list[np.random.SeedSequence]) -> np.ndarray:
    """The 64-bit seed of each replica's stream, from its ``SeedSequence``."""
    return np.array([sequence.generate_state(1, np.uint64)[0] for sequence in sequences], dtype=np.uint64)


def _check_vectors(name: str, found: np.ndarray, expected: tuple[int | None, ...]) -> None:
    if np.ndim(found) != 3 or any(want not in (None, have) for have, want in zip(found.shape, expected, strict=True)):
        raise ValueError(
            f"{name} has shape {np.shape(found)}; expected (replica, number, dim) = "
            f"{tuple('any' if x is None else x for x in expected)}"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds numbers that are not finite")
