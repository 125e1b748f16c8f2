r"""
Where does attention go as context grows?
=========================================

With independent Gaussian logits of standard deviation s, softmax attention over n keys has an effective number of keys
(participation ratio) near :math:`n e^{-s^2}`, but only while :math:`2 s < \sqrt{2 \ln n}`: beyond, the mean of
:math:`e^{2x}` rests on logits so large that n draws do not contain one, and the formula is far too small.
"""

# %%
# The kernel returns the statistics of every row from the same pass as the output.
import numpy as np
import torch

from attnlab.analysis import figures
from attnlab.kernels.attention import attention

generator = torch.Generator().manual_seed(0)
n_keys = np.array([16, 64, 256, 1024])
spreads = (0.5, 1.5, 3.0)
n_rows, n_replicas = 200, 8
measured = {}
for s in spreads:
    for n in n_keys:
        k = torch.randn(n_replicas, n_rows, n, 1, generator=generator, dtype=torch.float64)
        q = torch.full((n_replicas, n_rows, 1, 1), s, dtype=torch.float64)
        _, row = attention(q, k, k, scale=1.0, statistics=("participation_ratio",))
        measured[s, n] = row["participation_ratio"].mean(dim=(1, 2)).numpy()

# %%
# Lines: the limit of many keys. Points: means over replicas with 95 % intervals.
plate = figures.Plate(width="single")
fine = np.geomspace(16, 1024, 40)
for s in spreads:
    name = f"s = {s:g}"
    figures.prediction(plate[0], fine, fine * np.exp(-(s**2)), name)
    figures.measurement(plate[0], n_keys, np.stack([measured[s, n] for n in n_keys], 1), f"{name}, rows", series=name)
plate[0].scale(x="log", y="log")
plate[0].ticks(x=[16, 64, 256, 1024])
plate[0].labels(x="number of keys n", y="effective number of keys")
plate.legend("below", columns=2)
figures.describe(plate, "Effective number of keys of softmax attention over Gaussian logits", seeds="seed 0")
assert abs(measured[0.5, 1024].mean() / (1024 * np.exp(-0.25)) - 1) < 0.02  # the limit holds at s = 1/2
assert measured[3.0, 1024].mean() > 2 * 1024 * np.exp(-9)  # and not at s = 3: more keys than it says
