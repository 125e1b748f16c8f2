r"""A next-token task with classes of sequences, and the one-layer attention model whose pairwise logits are trained.

Tian, Wang, Chen and Du 2023 (arXiv 2305.16380), section 2. A class n has the next token n, a query token, and contextual
tokens drawn independently from P(. | n). *Common* tokens occur in every class, *distinct* tokens in one only. The model
attends from the query m to the contextual tokens by logits z_m, normalises what it attended to, and decodes it by Y:

.. math:: c_l \propto \mathrm{count}_l\, e^{z_{ml}}, \qquad f = c / \|c\|_2, \qquad \alpha = \mathrm{softmax}(Y^T f).

Only counts of tokens matter, so sequences are drawn as counts. Token ids without contextual role (queries, next tokens)
never get a gradient: they appear as outputs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters


@dataclass(frozen=True)
class Classes:
    """Who occurs where: ``n_classes`` classes with ``n_common`` shared tokens and ``n_distinct`` of their own each.

    Classes ``q * classes_per_query, ...`` share the query q. Tokens of a class are numbered locally, common ones first.
    """

    n_classes: int
    classes_per_query: int
    n_common: int
    n_distinct: int
    vocabulary: int

    @property
    def n_tokens(self) -> int:
        """Contextual tokens of all classes."""
        return self.n_common + self.n_distinct * self.n_classes

    @property
    def support(self) -> Tensor:
        """Ids ``(class, local)`` of the tokens of each class."""
        common = torch.arange(self.n_common).expand(self.n_classes, -1)
        return torch.cat(
            [common, self.n_common + torch.arange(self.n_distinct * self.n_classes).view(self.n_classes, -1)], dim=1
        )

    @property
    def query(self) -> Tensor:
        """The query ``(class,)`` of each class."""
        return torch.arange(self.n_classes) // self.classes_per_query


@dataclass(frozen=True)
class PairwiseLogits:
    """The model: attention logits Z = ``attention_scale`` times the parameter ``Z (query, token)``, and ``Y (token, id)``.

    The factor sqrt(eta_Z / eta_Y) turns gradient descent with the one rate eta_Y into descent with a rate of its own for
    each: the gradient and the step of Z each carry it once. ``uniform``: the logits start uniform on (-1, 1) / sqrt(M), as in
    the authors' larger experiments, instead of at zero.
    """

    classes: Classes
    attention_scale: float
    uniform: bool = False

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Z and Y of one replica per stream."""
        n_queries = self.classes.n_classes // self.classes.classes_per_query
        shapes = {"Z": (n_queries, self.classes.n_tokens), "Y": (self.classes.n_tokens, self.classes.vocabulary)}
        width = 1 / self.classes.vocabulary**0.5 if self.uniform else 0.0
        drawn = {
            name: torch.stack([torch.rand(shape, generator=stream, dtype=dtype) for stream in streams])
            for name, shape in shapes.items()
        }
        drawn = {name: (2 * values - 1) * width for name, values in drawn.items()}
        if self.uniform:
            drawn["Z"] = drawn["Z"] / self.attention_scale
        return drawn

    def attention(self, parameters: Parameters, log_counts: Tensor, chosen: Tensor) -> Tensor:
        """Weights c of the local tokens ``(replica, sequence, local)`` for log counts of the same shape.

        ``chosen``: the classes ``(replica, sequence)`` of the sequences.
        """
        K, per_query, common = self.classes.n_classes, self.classes.classes_per_query, self.classes.n_common
        z = self.attention_scale * parameters["Z"]
        z = z[:, :, None].expand(-1, -1, per_query, -1).flatten(1, 2)  # (replica, class, token)
        own = z[..., common:].unflatten(-1, (K, -1)) * torch.eye(K, dtype=z.dtype, device=z.device)[..., None]
        local = torch.cat([z[..., :common], own.sum(2)], dim=-1)  # (replica, class, local)
        return torch.softmax(self._of_class(chosen, z) @ local + log_counts, dim=-1)

    def outputs(self, parameters: Parameters, c: Tensor, chosen: Tensor) -> Tensor:
        """Output logits ``(replica, sequence, id)`` for the attention ``c`` of sequences of the chosen classes."""
        common = self.classes.n_common
        f = c / torch.linalg.vector_norm(c, dim=-1, keepdim=True)
        own = (self._of_class(chosen, f)[..., None] * f[..., None, common:]).flatten(
            -2
        )  # (replica, sequence, distinct)
        return torch.cat([f[..., :common], own], dim=-1) @ parameters["Y"]

    def _of_class(self, chosen: Tensor, like: Tensor) -> Tensor:
        """Whether a sequence is of a class, as numbers ``(replica, sequence, class)``."""
        return (chosen[..., None] == torch.arange(self.classes.n_classes, device=chosen.device)).to(like)


@dataclass(frozen=True)
class NextToken:
    """The loss: cross-entropy of the next token, averaged over ``batch`` fresh sequences per step.

    ``profile``: P(l | n) of the local tokens, ``(local,)`` if it is the same in all classes and replicas, which sampling needs,
    otherwise ``(replica, class, local)``. ``batch=0``: all classes once, with endless sequences, so that counts are P.
    ``length``: contextual tokens of a sequence, T - 1.
    """

    classes: Classes
    profile: Tensor
    batch: int
    length: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * (1 + self.profile.shape[-1])

    def part(self, rows: slice) -> NextToken:
        return self if self.profile.ndim == 1 else replace(self, profile=self.profile[rows])

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """The class of every sequence, and the counts of its local tokens, one binomial after another."""
        n = len(numbers) * self.batch
        drawn = [torch.randint(self.classes.n_classes, (n,), generator=stream).to(torch.float64)]
        left, share = torch.full((n,), float(self.length), dtype=torch.float64), 1.0
        for p in self.profile[:-1].tolist():
            drawn.append(torch.binomial(left, torch.full_like(left, min(p / share, 1.0)), generator=stream))
            left, share = left - drawn[-1], share - p
        numbers.copy_(torch.stack([*drawn, left], dim=1).view(len(numbers), -1))

    def loss(self, model: PairwiseLogits, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """Mean cross-entropy in nats, ``(replica,)``."""
        if self.batch:
            numbers = numbers.view(len(numbers), self.batch, -1)
            chosen, log_counts = numbers[..., 0].long(), numbers[..., 1:].log()
        else:
            chosen, log_counts = self.every_class(parameters)
        outputs = model.outputs(parameters, model.attention(parameters, log_counts, chosen), chosen)
        own = outputs.gather(-1, chosen[..., None])[..., 0]
        return (torch.logsumexp(outputs, dim=-1) - own).mean(-1)

    def every_class(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Classes ``(replica, class)`` and logarithms of P ``(replica, class, local)``: one endless sequence of each."""
        Y = parameters["Y"]
        chosen = torch.arange(self.classes.n_classes, device=Y.device).expand(len(Y), -1)
        return chosen, self.profile.to(Y).log().expand(len(Y), self.classes.n_classes, -1)

    def largest_array(self, model: PairwiseLogits) -> int:
        return max(
            (self.batch or self.classes.n_classes) * max(self.classes.n_tokens, self.classes.vocabulary),
            self.classes.n_tokens * self.classes.vocabulary,
        )
