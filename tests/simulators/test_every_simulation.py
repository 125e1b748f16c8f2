"""Simulations and devices: what is declared is so, and what declares CUDA keeps CUDA's rules (emulated on CPU tensors)."""

import ast
import importlib
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainings import all_simulations


def beside(name):
    """A module that lies beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PretendCuda, small = beside("pretend_cuda").PretendCuda, beside("small_settings").small

SLOW = {"particle_flow_structure.merged_stacks", "particle_flow_structure.time_dependent_errors"}


SIMULATIONS = all_simulations()
ON_CUDA = [name for name, each in SIMULATIONS.items() if "cuda" in each.devices]


def seeds(n=2):
    return [np.random.SeedSequence(0, spawn_key=(i,)) for i in range(n)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ON_CUDA]
)
def test_what_declares_cuda_runs_by_its_rules_and_returns_the_same_arrays(name):
    run = SIMULATIONS[name]
    setting = small(run)
    here = run(setting, seeds(), "cpu")
    with PretendCuda() as device:
        there = run(setting, seeds(), "cuda")
    assert device.used
    assert {k: (x.shape, x.dtype) for k, x in there.items()} == {k: (x.shape, x.dtype) for k, x in here.items()}


def test_what_reads_its_device_declares_it_and_nothing_else_does():
    for name, run in SIMULATIONS.items():
        function = ast.parse(textwrap.dedent(inspect.getsource(run.function))).body[0]
        device = function.args.args[2].arg
        reads = any(
            isinstance(node, ast.Name) and node.id == device for line in function.body for node in ast.walk(line)
        )
        assert reads == ("cuda" in run.devices), name


@dataclass(frozen=True)
class Setting:
    n_replicas: int = 2


def planted(function, devices=("cpu", "cuda")):
    return simulation(name=f"planted.{function.__name__}", devices=devices)(function)


def mixes(setting: Setting, seeds, device):
    """An index made on the CPU compared with one on the device, as the Transformer of stiffness_depth once did."""
    place = torch.zeros(len(seeds), 3, dtype=torch.long).to(device)
    return {"x": (torch.arange(3) == place).cpu().numpy()}


def keeps_a_table_behind(setting: Setting, seeds, device):
    """Moments on the CPU, parameters on the device, as linear_attention.train once did."""
    moments = torch.ones(len(seeds), 3, 3)
    return {"x": (moments @ torch.ones(len(seeds), 3, 1, device=device)).cpu().numpy()}


def forgets_to_come_back(setting: Setting, seeds, device):
    """numpy() of a device tensor, as head_rank_farthest.train_farthest once did."""
    return {"x": torch.zeros(len(seeds), device=device).numpy()}


def draws_with_the_wrong_generator(setting: Setting, seeds, device):
    return {"x": torch.randn(len(seeds), device=device, generator=torch.Generator()).cpu().numpy()}


def is_right(setting: Setting, seeds, device):
    x = torch.zeros(len(seeds), 3).to(device).requires_grad_()
    (slope,) = torch.autograd.grad((x * torch.ones(3, device=device)).cos().sum(), x)
    slope[0] = torch.ones(3)  # a copy crosses
    return {"x": (slope + torch.tensor(1.0))[torch.arange(len(seeds))].cpu().numpy()}  # numbers and CPU indices do


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (mixes, "two devices"),
        (keeps_a_table_behind, "two devices"),
        (forgets_to_come_back, "to numpy"),
        (draws_with_the_wrong_generator, "generator"),
    ],
)
def test_the_emulation_sees_what_cuda_refuses(function, error):
    run = planted(function)
    run.function(Setting(), seeds(), "cpu")
    with PretendCuda(), pytest.raises((RuntimeError, TypeError), match=error):
        run(Setting(), seeds(), "cuda")


def test_the_emulation_lets_right_code_pass():
    with PretendCuda() as device:
        found = planted(is_right)(Setting(), seeds(), "cuda")["x"]
    assert device.used and np.array_equal(found, planted(is_right)(Setting(), seeds(), "cpu")["x"])


def test_a_simulation_that_declares_no_cuda_runs_on_the_cpu_and_says_so(capsys):
    run = planted(is_right, devices=("cpu",))
    assert run.runs_on("cuda") == run.runs_on("cuda:1") == run.runs_on("cpu") == "cpu"
    assert planted(is_right).runs_on("cuda") == "cuda"
    with pytest.raises(ValueError, match="runs on cpu only, not on 'cuda'"):
        run(Setting(), seeds(), "cuda")
    with pytest.raises(ValueError, match=r"devices=\['gpu'\] is unknown"):
        simulation(name="planted.wrong", devices=["gpu"])(is_right)


def test_the_lab_keys_a_block_by_where_it_computes_and_says_once_that_it_is_the_cpu():
    workbench = importlib.import_module("attnlab.papers.lab.run.workbench")

    class Display(list):
        say = list.append

    bench = workbench.Workbench(None, Display(), device="cuda")
    for _ in range(2):
        assert bench._device(planted(is_right)) == "cuda"
        assert bench._device(planted(is_right, devices=("cpu",))) == "cpu"
    assert list(bench.display) == ["planted.is_right runs on the CPU: it declares no cuda"]


def test_auto_stays_on_the_cpu_until_a_measurement_is_committed(monkeypatch):
    doctor = importlib.import_module("attnlab.papers.lab.commands.doctor")
    measured = importlib.import_module("attnlab.kernels.attention.gpu.measured")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a card")
    for table, expected in (
        ({}, "cpu"),
        ({"another card": 5.0}, "cpu"),
        ({"a card": 0.7}, "cpu"),
        ({"a card": 3.0}, "cuda"),
    ):
        monkeypatch.setattr(measured, "measured", lambda table=table: table)
        assert doctor.check_device("auto") == expected
    assert doctor.check_device("cuda") == "cuda" and doctor.check_device("cpu") == "cpu"
