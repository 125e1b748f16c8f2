"""Mixers and channel gates on grids: shifts, supports, degrees, shares of frequencies, of bands and of coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.mixers_and_channels.channel_band import ChannelBand
from attnlab.kernels.operators.mixers_and_channels.channel_frequencies import ChannelFrequencies
from attnlab.kernels.operators.mixers_and_channels.fft_mixer import FFTMixer
from attnlab.kernels.operators.mixers_and_channels.hyper_kernel import HyperKernel
from attnlab.kernels.operators.mixers_and_channels.large_kernel import LargeKernel
from attnlab.kernels.operators.mixers_and_channels.large_kernel_gate import LargeKernelGate
from attnlab.kernels.operators.operator import Grid, Sizes, Tokens
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class WaveSetting:
    """Fourier mixers of ``n_tokens`` white tokens in ``width`` channels, thresholds of size ``threshold``."""

    threshold: float = 0.5
    n_tokens: int = 256
    width: int = 16
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "threshold", "width", "n_replicas")
        require_at_least(self, 4, "n_tokens")


@simulation(name="mixers_and_channels.waves", block=8)
def waves(setting: WaveSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``pruned`` (replica,): share of frequencies of the output that are zero, filter 1.

    ``shifted``, ``output``, ``reversed`` (replica, token, D): 16 tokens moved round by five and back after the mixer, as they
    are, and in the other order and back. ``filtered``, ``convolved`` (replica, token, D): threshold 0 and a filter that does not
    look, and the circular convolution with its kernel.
    """
    found: dict[str, list] = {name: [] for name in ("pruned", "shifted", "output", "reversed", "filtered", "convolved")}
    n, D = setting.n_tokens, setting.width
    for stream in random_streams.generators(seeds, "data"):
        operator = FFTMixer(threshold=-setting.threshold, epsilon=1e-24)
        own = operator.initialise(Sizes(n=n, d=D, d_v=D), [stream], torch.float64)
        plain = dict(own, real=torch.ones_like(own["real"]), imaginary=0 * own["imaginary"], out=0 * own["out"])
        y = operator.apply(Tokens(torch.randn(1, 1, n, D, generator=stream, dtype=torch.float64)), plain)
        found["pruned"].append((torch.fft.fft(y, dim=-2, norm="ortho").abs() < 1e-9).double().mean().item())
        few = operator.initialise(Sizes(n=16, d=D, d_v=D), [stream], torch.float64)
        x = torch.randn(1, 1, 16, D, generator=stream, dtype=torch.float64)
        for name, moved, back in (
            ("output", x, lambda y: y),
            ("shifted", x.roll(5, -2), lambda y: y.roll(-5, -2)),
            ("reversed", x.flip(-2), lambda y: y.flip(-2)),
        ):
            found[name].append(back(operator.apply(Tokens(moved), few))[0, 0].numpy())
        fixed = dict(few, out=0 * few["out"], threshold=0 * few["threshold"])
        found["filtered"].append(operator.apply(Tokens(x), fixed)[0, 0].numpy())
        kernel = torch.fft.ifft(torch.complex(few["real"], few["imaginary"])[0], dim=0)  # (tap, D)
        lag = (torch.arange(16)[:, None] - torch.arange(16)[None]) % 16
        found["convolved"].append(torch.einsum("tsc,sc->tc", kernel[lag].real, x[0, 0]).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class SupportSetting:
    """Grids of ``side`` x ``side`` cells; kernels of the ``sizes``, and a gate of ``kernel`` cells with ``dilation``."""

    side: int = 14
    sizes: tuple[int, ...] = (3, 7, 13, 27)
    kernel: int = 21
    dilation: int = 3
    n_replicas: int = 4

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "sizes", "kernel", "dilation", "n_replicas")
        require_at_least(self, 4, "side")


@simulation(name="mixers_and_channels.supports", block=4)
def supports(setting: SupportSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``share`` (replica, size): non-zero entries of a kernel's map; what gates and hyper-kernels see and how they grow.

    ``matrix``, ``layer`` (replica, token, D): map times values, and the convolution. ``rank`` (replica,) of the map of 7 cells on
    9 x 9. ``gate`` (replica, 2): cells per side, and cells, that the gate sees; ``weights``: its parameters. ``cells`` (replica,
    2): inputs of one output of both hyper-kernels on 8 x 8. ``powers`` (replica, 3): size of the outputs of gate, first and
    second hyper-kernel for inputs three times as large, over before.
    """
    names = ("share", "matrix", "layer", "rank", "gate", "weights", "cells", "powers")
    found: dict[str, list] = {name: [] for name in names}
    s, jacobian = setting.side, torch.autograd.functional.jacobian
    for stream in random_streams.generators(seeds, "data"):
        shares = []
        for size in setting.sizes:
            operator = LargeKernel(size)
            own = operator.initialise(Sizes(n=s * s, d=1, d_v=1, shape=(s, s)), [stream], torch.float64)
            x = torch.randn(1, 1, s * s, 1, generator=stream, dtype=torch.float64)
            M = operator.matrix(Grid(x, (s, s)), own)[0, 0, 0]
            shares.append((M != 0).double().mean().item())
        found["share"].append(shares)
        mixed = M[None, None, None] @ operator.values(Grid(x, (s, s)), own)
        found["matrix"].append(operator.post(mixed, Grid(x, (s, s)), own)[0, 0].numpy())
        found["layer"].append(operator.apply(Grid(x, (s, s)), own)[0, 0].numpy())
        seven = LargeKernel(7)
        own = seven.initialise(Sizes(n=81, d=1, d_v=1, shape=(9, 9)), [stream], torch.float64)
        values = torch.linalg.svdvals(seven.matrix(Grid(torch.zeros(1, 1, 81, 1).double(), (9, 9)), own)[0, 0, 0])
        found["rank"].append(int((values > 1e-9 * values[0]).sum()))
        gate, side = LargeKernelGate(setting.kernel, setting.dilation), 2 * (setting.kernel + setting.dilation) + 1
        own = gate.initialise(Sizes(n=side * side, d=2, d_v=2, shape=(side, side)), [stream], torch.float64)
        x = torch.randn(1, 1, side * side, 2, generator=stream, dtype=torch.float64, requires_grad=True)
        gate.apply(Grid(x, (side, side)), own)[0, 0, side * side // 2].sum().backward()
        seen = (x.grad[0, 0].abs().amax(-1) > 0).reshape(side, side)
        found["gate"].append([int(seen.any(1).sum()), int(seen.sum())])
        found["weights"].append(sum(p.numel() for p in own.values()))
        powers, cells = [], []
        with torch.no_grad():
            once, thrice = (gate.apply(Grid(a * x.detach(), (side, side)), own) for a in (1, 3))
        powers.append((thrice.norm() / once.norm()).item())
        for version in (1, 2):
            hyper = HyperKernel(version)
            own = hyper.initialise(Sizes(n=64, d=1, d_v=1, shape=(8, 8)), [stream], torch.float64)
            z = torch.randn(64, generator=stream, dtype=torch.float64)

            def middle(tokens: torch.Tensor, hyper: HyperKernel = hyper, own: dict = own) -> torch.Tensor:
                return hyper.apply(Grid(tokens[None, None, :, None], (8, 8)), own)[0, 0, 27, 0]

            cells.append(int((jacobian(middle, z).abs() > 0).sum()))
            once, thrice = (hyper.apply(Grid(a * z[None, None, :, None], (8, 8)), own) for a in (1, 3))
            powers.append((thrice.norm() / once.norm()).item())
        found["cells"].append(cells)
        found["powers"].append(powers)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BandSetting:
    """Gate logits of ``n_channels`` channels that are a band of ``taps`` (odd) on independent means; fits of the ``sizes``."""

    taps: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0, 0.8, 0.6, 0.4, 0.2)
    sizes: tuple[int, ...] = (1, 5, 9)
    n_channels: int = 256
    n_samples: int = 200
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "sizes", "n_channels", "n_samples", "n_replicas")
        if len(self.taps) % 2 == 0 or any(size % 2 == 0 for size in self.sizes):
            raise ValueError(f"taps={self.taps!r} and sizes={self.sizes!r} must be odd: bands are centred")
        require_at_least(self, max(self.sizes), "n_channels")


@simulation(name="mixers_and_channels.bands", block=8)
def bands(setting: BandSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Share of the logits' variance that a fitted band explains, logits read off the operator's gate with the planted taps.

    ``ordered`` and ``shuffled`` (replica, size): channels as they are, and permuted at random.
    """
    found: dict[str, list] = {"ordered": [], "shuffled": []}
    C, half = setting.n_channels, max(setting.sizes) // 2
    operator = ChannelBand(len(setting.taps))
    kernel = {
        "kernel": torch.tensor(setting.taps, dtype=torch.float64)[None] / 10
    }  # small logits: the gate keeps its digits
    for stream in random_streams.generators(seeds, "data"):
        x = torch.randn(1, setting.n_samples, 1, C, generator=stream, dtype=torch.float64)
        logit = (operator.apply(Grid(x, (1, 1)), kernel) / x).logit()[0, :, 0]
        for name, order in (("ordered", torch.arange(C)), ("shuffled", torch.randperm(C, generator=stream))):
            means, wanted = x[0, :, 0][:, order], logit[:, order]
            padded = torch.nn.functional.pad(means, (half, half))
            row = []
            for size in setting.sizes:
                lags = [padded[:, half + lag : half + lag + C].flatten() for lag in range(-(size // 2), size // 2 + 1)]
                A, b = torch.stack(lags, 1), wanted.flatten()
                fit = A @ torch.linalg.solve(A.T @ A, A.T @ b)
                row.append((1 - (b - fit).square().sum() / b.square().sum()).item())
            found[name].append(row)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class CosineSetting:
    """A pattern cos(u) cos(v) of ``amplitude`` in noise of ``noise_std`` on a grid of ``side`` x ``side`` cells."""

    amplitude: float = 0.3
    noise_std: float = 1.0
    side: int = 16
    frequency: tuple[int, int] = (3, 2)
    n_draws: int = 1000
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "amplitude", "noise_std", "frequency", "n_draws", "n_replicas")
        require_at_least(self, 8, "side")


@simulation(name="mixers_and_channels.cosines", block=8)
def cosines(setting: CosineSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Coefficients of the pattern (replica, 3) by the operator's filters: ``clean``, its own, the mean's, and another one's.

    ``moved`` (replica,): its own, the pattern moved by half a period. ``told`` (replica,): share of draws in which a noisy grid
    with the pattern has a larger coefficient than one without; ``by_mean``: by the mean.
    """
    found: dict[str, list] = {name: [] for name in ("clean", "moved", "told", "by_mean")}
    s, (u, v) = setting.side, setting.frequency
    operator = ChannelFrequencies(((u, v), (0, 0), (u + 1, v)))
    at = torch.arange(s, dtype=torch.float64) + 0.5
    pattern = setting.amplitude * torch.outer((torch.pi * u * at / s).cos(), (torch.pi * v * at / s).cos()).flatten()
    moved = (
        setting.amplitude * torch.outer((torch.pi * (u * at / s + 1)).cos(), (torch.pi * v * at / s).cos()).flatten()
    )
    filters = operator.filters(Grid(torch.zeros(1, 1, s * s, 3, dtype=torch.float64), (s, s)))  # (token, 3)
    for stream in random_streams.generators(seeds, "data"):
        noise = setting.noise_std * torch.randn(2, setting.n_draws, s * s, generator=stream, dtype=torch.float64)
        absent, present = noise[0] @ filters, (noise[1] + pattern) @ filters
        found["clean"].append((pattern @ filters).numpy())
        found["moved"].append((moved @ filters)[0].item())
        for name, channel in (("told", 0), ("by_mean", 1)):
            found[name].append((present[:, channel] > absent[:, channel]).double().mean().item())
    return {name: np.array(values) for name, values in found.items()}
