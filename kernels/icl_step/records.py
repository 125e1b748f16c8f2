"""The plain records of the in-context regression step: sizes, state, data, optimiser; all checked at the door."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAMES = ("wq", "wk", "wv", "wo")


@dataclass(frozen=True)
class Shape:
    """Sizes of task and model. ``width``: head width, by default dim + n_labels, the size of a token."""

    dim: int
    n_context: int
    n_heads: int
    batch: int
    width: int | None = None
    causal: bool = False
    n_labels: int = 1

    def __post_init__(self):
        for name in ("dim", "n_context", "n_heads", "batch", "n_labels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer")
        if self.width is not None and (not isinstance(self.width, int) or self.width < 1):
            raise ValueError(f"width={self.width!r} must be a positive integer, or None for dim + n_labels")

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.dim + self.n_labels if self.width is None else self.width

    @property
    def label_axis(self) -> tuple[int, ...]:
        """The last axis of labels and of ``wo``: none for a single label."""
        return () if self.n_labels == 1 else (self.n_labels,)

    @property
    def n_rows(self) -> int:
        """Queries per sequence."""
        return self.n_context if self.causal else 1

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters of one replica."""
        wide = (self.n_heads, self.head_width, self.dim + self.n_labels)
        return {"wq": wide, "wk": wide, "wv": wide, "wo": (self.n_heads, *self.label_axis, self.head_width)}

    @property
    def n_parameters(self) -> int:
        """Parameters of one replica."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes().values())


@dataclass(frozen=True, eq=False)
class State:
    """Parameters (replica, ...), their Adam moments, the number of steps done, and where replicas diverged."""

    params: dict[str, np.ndarray]
    moment1: dict[str, np.ndarray]
    moment2: dict[str, np.ndarray]
    step: int
    diverged_at: np.ndarray

    @classmethod
    def start(cls, params: dict[str, np.ndarray]) -> State:
        """The state before the first step: moments zero."""
        n_replicas = next(iter(params.values())).shape[0]
        zero = {name: np.zeros_like(x) for name, x in params.items()}
        second = {name: x.copy() for name, x in zero.items()}
        return cls(dict(params), zero, second, 0, np.full(n_replicas, -1, np.int64))

    @property
    def n_replicas(self) -> int:
        """Number of replicas."""
        return len(next(iter(self.params.values())))

    @property
    def dtype(self) -> str:
        """Name of the parameters' dtype."""
        return str(next(iter(self.params.values())).dtype)

    def check(self, shape: Shape) -> None:
        """Raise unless the arrays are what ``shape`` asks for."""
        for part in (self.params, self.moment1, self.moment2):
            if tuple(sorted(part)) != tuple(sorted(NAMES)):
                raise ValueError(f"parameters are {sorted(part)}; expected {sorted(NAMES)}")
            for name, expected in shape.parameter_shapes().items():
                if not isinstance(part[name], np.ndarray):
                    raise TypeError(f"{name} must be a numpy array, got {type(part[name]).__name__}")
                if len(part[name]) == 0:
                    raise ValueError(f"{name} has shape {part[name].shape}; expected at least one replica")
                if part[name].shape != (self.n_replicas, *expected):
                    raise ValueError(
                        f"{name} has shape {part[name].shape}; expected {(self.n_replicas, *expected)} "
                        "(replica, head, width, dim + labels), wo (replica, head, labels if many, width)"
                    )
                if part[name].dtype != part["wq"].dtype or str(part[name].dtype) not in ("float32", "float64"):
                    raise ValueError(f"{name} has dtype {part[name].dtype}; use float32 or float64 for all parameters")


@dataclass(frozen=True, eq=False)
class Law:
    r"""What the pairs of a stream are, :math:`x = C \xi` and, for label t,

    .. math:: y_t = \sum_{i \in S_t} \beta_{ti} x_i + s_t \sigma \epsilon_t, \qquad \beta_{ti} \sim N(0, b^2).

    ``covariance_root``: C, lower triangular, None for the identity. ``supports``: the covariates S_t of each label, None
    for all. ``coefficient_std``: b, None for dim^(-1/2). ``noise_scale``: s_t, None for 1. ``clean_query``: the last pair
    has labels without noise.
    """

    covariance_root: np.ndarray | None = None
    supports: tuple[tuple[int, ...], ...] | None = None
    coefficient_std: float | None = None
    noise_scale: tuple[float, ...] | None = None
    clean_query: bool = False

    def mask(self, shape: Shape) -> np.ndarray | None:
        """1 where a covariate counts for a label, (label, dim)."""
        if self.supports is None:
            return None
        return np.array([[float(i in support) for i in range(shape.dim)] for support in self.supports])

    def check(self, shape: Shape) -> None:
        """Raise unless the law can make sequences of this shape."""
        root, supports, scale = self.covariance_root, self.supports, self.noise_scale
        if root is not None and (
            np.shape(root) != (shape.dim,) * 2 or not np.isfinite(root).all() or np.triu(root, 1).any()
        ):
            raise ValueError(f"covariance_root must be lower triangular, {shape.dim} by {shape.dim} and finite")
        if supports is not None and (
            len(supports) != shape.n_labels
            or any(not support or not set(support) <= set(range(shape.dim)) for support in supports)
        ):
            raise ValueError(
                f"supports={supports!r} must name covariates from 0 to {shape.dim - 1} for each of "
                f"{shape.n_labels} labels"
            )
        if self.coefficient_std is not None and not 0 < self.coefficient_std < np.inf:
            raise ValueError(f"coefficient_std={self.coefficient_std!r} must be positive")
        if scale is not None and (np.shape(scale) != (shape.n_labels,) or not all(0 <= s < np.inf for s in scale)):
            raise ValueError(f"noise_scale={scale!r} must be {shape.n_labels} numbers, one per label, not negative")
        if self.clean_query and shape.causal:
            raise ValueError("clean_query=True needs a single query; with causal=True every pair is context and query")


@dataclass(frozen=True, eq=False)
class Stream:
    """Fresh batches from the counter-based stream: a 64-bit seed and a noise level for each replica, and the law of all."""

    seeds: np.ndarray
    noise_std: np.ndarray | float = 0.0
    law: Law = Law()

    def noise(self) -> np.ndarray:
        """Noise level of each replica in float64."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.noise_std, np.float64), (len(self.seeds),)))

    def check(self, shape: Shape, state: State, n_steps: int) -> None:
        """Raise unless there is one seed and noise level a replica."""
        if np.asarray(self.seeds).dtype != np.uint64 or np.shape(self.seeds) != (state.n_replicas,):
            raise ValueError(
                f"seeds must be {state.n_replicas} numbers of dtype uint64, got "
                f"{np.asarray(self.seeds).dtype} of shape {np.shape(self.seeds)}; see replica_seeds"
            )
        if np.shape(self.noise_std) not in ((), (1,), (state.n_replicas,)):
            raise ValueError(
                f"noise_std has shape {np.shape(self.noise_std)}; expected a number or ({state.n_replicas},), one per replica"
            )
        if not (np.isfinite(self.noise()).all() and (self.noise() >= 0).all()):
            raise ValueError(f"noise_std={self.noise_std!r} must be finite and not negative")
        self.law.check(shape)


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches from outside: x (replica, step, batch, n_context + 1, dim), y (replica, step, batch, n_context + 1), with an
    axis of labels last if there are several."""

    x: np.ndarray
    y: np.ndarray

    def check(self, shape: Shape, state: State, n_steps: int) -> None:
        """Raise unless the arrays cover ``n_steps`` steps."""
        for name, a in (("x", self.x), ("y", self.y)):
            dtype = getattr(a, "dtype", None)
            if not isinstance(dtype, np.dtype) or dtype.kind not in "fiub" or not dtype.isnative:
                raise TypeError(
                    f"{name} must be a numpy array of real numbers in native byte order, got {dtype or type(a).__name__}"
                )
        expected = (state.n_replicas, n_steps, shape.batch, shape.n_context + 1)
        if self.y.shape != (*expected, *shape.label_axis) or self.x.shape != (*expected, shape.dim):
            raise ValueError(
                f"x and y have shapes {self.x.shape} and {self.y.shape}; expected "
                f"{(*expected, shape.dim)} and {(*expected, *shape.label_axis)} (replica, step, batch, pair, ...)"
            )


@dataclass(frozen=True, eq=False)
class Optimiser:
    """Adam as in torch.optim.Adam, or plain gradient descent ("sgd"); the learning rate may differ between replicas."""

    learning_rate: float | np.ndarray
    kind: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self):
        if self.kind not in ("adam", "sgd"):
            raise ValueError(f"kind={self.kind!r} is unknown; use 'adam' or 'sgd'")
        if not (np.all(np.isfinite(self.learning_rate)) and np.all(np.asarray(self.learning_rate) >= 0)):
            raise ValueError(f"learning_rate={self.learning_rate!r} must be finite and not negative")
        if not all(0 <= beta < 1 for beta in self.betas) or not self.eps > 0:
            raise ValueError(f"need 0 <= betas < 1 and eps > 0, got betas={self.betas!r}, eps={self.eps!r}")

    def check(self, n_replicas: int) -> None:
        """Raise unless there is one learning rate, or one per replica."""
        if np.ndim(self.learning_rate) and np.shape(self.learning_rate) != (n_replicas,):
            raise ValueError(
                f"learning_rate has shape {np.shape(self.learning_rate)}; expected a number or ({n_replicas},)"
            )

    def rates(self, n_replicas: int) -> np.ndarray:
        """Learning rate of each replica in float64."""
        return np.array(np.broadcast_to(self.learning_rate, (n_replicas,)), np.float64)


def replica_seeds(sequences: list[np.random.SeedSequence]) -> np.ndarray:
    """The 64-bit seed of each replica's stream, from its ``SeedSequence``."""
    return np.array([sequence.generate_state(1, np.uint64)[0] for sequence in sequences], dtype=np.uint64)
