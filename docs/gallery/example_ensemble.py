r"""
Thirty-two models in one call
=============================

One attention head learns to find the token with the largest first entry, and to copy its second entry. The ensemble
trainer trains 32 replicas at four learning rates in one call: parameters, data and losses carry the replica as first axis.
"""

# %%
# The model and the task: a function of a parameter dictionary, and a loss per replica.
import numpy as np
import torch

from attnlab.analysis import figures
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.trainer import train


class OneHead:
    def initialise(self, streams, dtype):
        return {"query": torch.stack([0.1 * torch.randn(2, generator=s, dtype=dtype) for s in streams])}


class CopyTheLargest:
    batch, n_tokens = 64, 8
    numbers_per_step = batch * n_tokens * 2

    def fill(self, numbers, stream):
        numbers.normal_(generator=stream)

    def loss(self, model, parameters, numbers):
        x = numbers.view(len(numbers), self.batch, self.n_tokens, 2)
        weights = torch.einsum("rbnd,rd->rbn", x, parameters["query"]).softmax(-1)
        target = x[..., 1].gather(-1, x[..., 0].argmax(-1, keepdim=True)).squeeze(-1)
        return ((weights * x[..., 1]).sum(-1) - target).square().mean(-1)

    def largest_array(self, model):
        return self.numbers_per_step


# %%
# Learning rates differ per replica.
rates = np.repeat([0.003, 0.01, 0.03, 0.1], 8)
seeds = [np.random.SeedSequence(0, spawn_key=(replica,)) for replica in range(len(rates))]
run = train(OneHead(), CopyTheLargest(), Adam(rates), seeds, Plan(n_steps=400))
print(run.path, run.loss.shape, f"{(run.diverged_at >= 0).sum()} diverged")

# %%
# The loss falls earlier at larger rates. Lines are medians over 8 replicas, bands the central 80 %.
plate = figures.Plate(width="single")
for rate in np.unique(rates):
    figures.band(plate[0], run.loss_steps[1:], run.loss[rates == rate, 1:], f"rate {rate:g}")
plate[0].scale(x="log", y="log")
plate[0].labels(x="step", y="loss")
plate[0].legend()
figures.describe(plate, "Copying the largest token: loss of one attention head", seeds="seed 0, replicas 0 to 31")
assert run.loss[rates == 0.1, -1].mean() < run.loss[rates == 0.003, -1].mean() < run.loss[:, 0].mean()
