r"""
How sensitive is softmax?
=========================

The map :math:`x \mapsto \mathrm{softmax}(\beta x)` has Lipschitz constant :math:`\beta / 2` in the Euclidean norm, not
:math:`\beta`. Its Jacobian is :math:`\beta(\mathrm{diag}(p) - p p^T)`, and for a unit vector u the quadratic form is the
variance of u under p, at most :math:`(\max u - \min u)^2 / 4 \le 1/2`.
"""

# %%
# A search over points and unit directions comes as near to the constant as it can. The twin, a constant of 0.49, is
# refuted by the same search.
from attnlab.analysis import Sphere, Twin, Vector, check, for_all


def along(x, u):
    """The length of the Jacobian of softmax at x, applied to the unit vector u."""
    p = x.softmax(-1)
    return (p * (u - (p * u).sum())).norm()


claim = for_all(x=Vector(3, -8, 8), u=Sphere(3)).bound(
    along, at_most=0.5, name="lipschitz", twin=Twin.of("0.49", at_most=0.49)
)
verdict = check(claim, "searched", seed=0)
verdict

# %%
# Random pairs alone come nowhere near: this is why sampling is the weakest of the four levels.
import numpy as np

from attnlab.analysis import figures

rng = np.random.default_rng(0)
x, y = rng.uniform(-8, 8, (2, 20_000, 3))
p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (x, y))
ratios = np.linalg.norm(p - q, axis=1) / np.linalg.norm(x - y, axis=1)
record = np.maximum.accumulate(ratios)

pairs = np.geomspace(1, 20_000, 60).astype(int)
plate = figures.Plate(width="single")
figures.prediction(plate[0], pairs, record[pairs - 1], "largest ratio of random pairs")
figures.reference(plate[0], "sharp constant 1/2", y=0.5)
plate[0].scale(x="log")
plate[0].labels(x="pairs drawn", y="largest ratio so far")
figures.describe(plate, "Largest ratio found among random pairs of inputs in [-8, 8]^3", seeds="seed 0")
assert verdict.holds and verdict.tightness > 0.99 and record[-1] < 0.5
