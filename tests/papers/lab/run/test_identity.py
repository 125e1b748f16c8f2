import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.executor import BlockTask, run_block
from attnlab.papers.lab.run.fingerprint import code_fingerprint, forget, modules_behind
from attnlab.papers.lab.run.identity import (
    attribute_of,
    block_identity,
    canonical,
    code_roots,
    fields_of,
    replica_seeds,
)
from attnlab.papers.lab.run.machine import one_thread, threads
from attnlab.papers.lab.run.ran import settled
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    dim: int = 3
    colour: str = "red"
    n_replicas: int = 8


class Simulation:
    name, block, reads, module = "toy.run", 4, ("dim",), "attnlab.papers.lab.errors"

    @staticmethod
    def function(setting, seeds, device):
        """Never called."""


def test_only_the_fields_that_are_read_enter_the_identity():
    base = block_identity(Simulation, Setting(), 0, 0, "cpu").key
    assert block_identity(Simulation, Setting(colour="blue", n_replicas=9), 0, 0, "cpu").key == base
    others = [
        block_identity(Simulation, Setting(dim=4), 0, 0, "cpu"),
        block_identity(Simulation, Setting(), 1, 0, "cpu"),
        block_identity(Simulation, Setting(), 0, 1, "cpu"),
    ]
    assert len({base, *(o.key for o in others)}) == 4


@dataclass(frozen=True)
class Cosine:
    rate: float = 1.0


@dataclass(frozen=True)
class Linear:
    rate: float = 1.0


@dataclass(frozen=True)
class Nested:
    schedule: object = Cosine()
    parts: tuple[Cosine, ...] = (Cosine(),)
    own: Cosine = Cosine()
    n_replicas: int = 8


class NestedSimulation(Simulation):
    reads = ("schedule", "parts", "own")


def test_settings_inside_a_setting_count_with_their_class_unless_it_is_the_declared_one():
    def key(**fields):
        return block_identity(NestedSimulation, Nested(**fields), 0, 0, "cpu").key

    settings = ({}, {"schedule": Linear()}, {"parts": (Linear(),)}, {"parts": (Cosine(), Cosine())}, {"own": Linear()})
    assert len({key(**fields) for fields in settings}) == len(settings)
    record = fields_of(NestedSimulation, Nested())
    assert record["own"] == record["parts"][0] == {"rate": 1.0}
    assert record["schedule"] == {"class": f"{__name__}.Cosine", "rate": 1.0}


def test_an_annotation_that_only_a_type_checker_reads_declares_nothing():
    @dataclass(frozen=True)
    class Odd:
        rate: "Nowhere" = 1.0  # noqa: F821

    assert fields_of(NestedSimulation, Nested(schedule=Odd()))["schedule"]["rate"] == 1.0


def _made(value):
    @simulation(name="toy.made", block=2)
    def made(setting: Setting, seeds, device):
        return {"value": np.full(len(seeds), value)}

    return made


made, other = _made(1.0), _made(7.0)


def test_a_simulation_is_found_under_the_name_that_its_module_holds_it_by():
    """``made`` and ``other`` come from one function: what runs for one is not kept for the other."""
    assert [attribute_of(each) for each in (made, other, _made(2.0))] == ["made", "other", None]
    one, two = (block_identity(each, Setting(), 0, 0, "cpu") for each in (made, other))
    assert one.key != two.key
    for each, identity, value in ((made, one, 1.0), (other, two, 7.0)):
        found = run_block(BlockTask(identity, __name__, attribute_of(each), Setting(), code_roots(each, Setting())))
        assert found.failed is None and (found.arrays["value"] == value).all()
    wrong = run_block(BlockTask(one, __name__, "toy_of_another_name", Setting(), code_roots(made, Setting())))
    assert wrong.failed[0] == "environment" and "toy.another" in wrong.failed[1]


@simulation(name="toy.another")
def toy_of_another_name(setting: Setting, seeds, device):
    return {"value": np.zeros(len(seeds))}


def test_seeds_depend_on_replica_simulation_fields_and_seed_and_on_nothing_else():
    def draw(name="a.b", fields=None, seed=0, first=0, size=4):
        seeds = replica_seeds(name, fields or {"dim": 3}, seed, first, size)
        return [int(np.random.default_rng(s).integers(2**62)) for s in seeds]

    whole = draw(size=8)
    assert whole[4:] == draw(first=4)  # not on which other replicas were asked for
    assert len({*whole, *draw(seed=1), *draw(name="a.c"), *draw(fields={"dim": 4})}) == 8 + 3 * 4


def test_the_fingerprint_ignores_comments_and_docstrings_and_sees_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def fingerprint(text):
        (tmp_path / "fingerprinted.py").write_text(text)
        sys.modules.pop("fingerprinted", None)
        forget()
        return code_fingerprint("fingerprinted")

    base = fingerprint("def f(x):\n    return x + 1\n")
    assert fingerprint("'''About f.'''\ndef f(x):\n    '''Doc.'''\n    # why\n    return (x + 1)\n") == base
    assert fingerprint("def f(x):\n    return x + 2\n") != base
    assert fingerprint("from attnlab.papers.lab import errors\ndef f(x):\n    return x + 1\n") != base
    forget()


def test_code_is_read_and_not_run(tmp_path, monkeypatch):
    """Modules that a simulation imports late, packages around them and one that cannot be imported at all count with their text."""
    monkeypatch.syspath_prepend(tmp_path)
    deep = tmp_path / "quiet_pack" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "quiet_pack" / "__init__.py").write_text("")
    (deep / "__init__.py").write_text("raise RuntimeError('run')\n")
    (deep / "late.py").write_text("from quiet_pack.lost import THING\n")
    (tmp_path / "quiet_pack" / "lost.py").write_text("import no_such_library\nTHING = 1\n")
    (tmp_path / "quiet_pack" / "sim.py").write_text(
        "def f():\n    from quiet_pack.deep.late import THING\n    return THING\n"
    )
    forget()
    found = modules_behind("quiet_pack.sim")
    names = {"quiet_pack", "quiet_pack.sim", "quiet_pack.lost", "quiet_pack.deep", "quiet_pack.deep.late"}
    assert set(found) == names and not set(sys.modules) & names
    (tmp_path / "quiet_pack" / "lost.py").write_text("import no_such_library\nTHING = 2\n")
    forget()
    after = modules_behind("quiet_pack.sim")
    assert {name for name in names if after[name] != found[name]} == {"quiet_pack.lost"}
    forget()
    heavy = "import sys; from attnlab.papers.lab.run.fingerprint import modules_behind as m; m('attnlab.kernels.attention'); "
    heavy += "assert 'attnlab.kernels.attention.scores.formula.derive' in m('attnlab.kernels.attention'); print('sympy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_a_package_that_says_itself_where_its_modules_lie_is_asked(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    wide, elsewhere = tmp_path / "moved_pack" / "wide", tmp_path / "elsewhere"
    wide.mkdir(parents=True)
    elsewhere.mkdir()
    (tmp_path / "moved_pack" / "__init__.py").write_text("")
    (wide / "__init__.py").write_text(f"__path__.append({str(elsewhere)!r})\n")
    (elsewhere / "late.py").write_text("X = 1\n")
    (tmp_path / "moved_pack" / "sim.py").write_text("def f():\n    from moved_pack.wide.late import X\n    return X\n")
    forget()
    assert "moved_pack.wide.late" in modules_behind("moved_pack.sim")
    forget()
    for name in [name for name in sys.modules if name.startswith("moved_pack")]:
        monkeypatch.delitem(sys.modules, name)


def test_canonical_json_refuses_what_has_no_exact_text():
    assert canonical({"b": 1, "a": (0.1, "x")}) == '{"a":[0.1,"x"],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


@pytest.fixture
def picker(tmp_path, monkeypatch):
    """A simulation outside the repository: beside it a helper, and what its setting picks by name."""
    for name, text in {
        "pick_sim": """
            from dataclasses import dataclass
            import importlib
            import numpy as np
            import pick_helper
            from attnlab.simulators.ensemble.simulation import simulation

            @dataclass(frozen=True)
            class Setting:
                operator: str = "one"
                n_replicas: int = 2

            @simulation(name="pick.run", block=2, code_of=lambda s: [f"pick_operators.{s.operator}"])
            def run(setting: Setting, seeds, device):
                value = importlib.import_module(f"pick_operators.{setting.operator}").VALUE
                return {"x": np.full(len(seeds), pick_helper.twice(value))}
            """,
        "pick_helper": "def twice(x):\n    return 2 * x\n",
        "pick_operators/__init__": "",
        "pick_operators/one": "VALUE = 1\n",
        "pick_operators/two": "VALUE = 2\n",
    }.items():
        (tmp_path / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    # builds that other tests of this process could not have are not this simulation's
    monkeypatch.setattr("attnlab.kernels.compiled.provenance._tellers", {})
    forget()
    import pick_sim

    yield pick_sim, tmp_path
    for name in [name for name in sys.modules if name.startswith("pick_")]:
        del sys.modules[name]
    forget()


def test_what_a_setting_picks_by_name_and_helpers_beside_it_are_part_of_the_identity(picker):
    module, folder = picker

    def key(operator="one"):
        forget()
        return block_identity(module.run, module.Setting(operator), 0, 0, "cpu").key

    one, two = key(), key("two")
    (folder / "pick_operators" / "two.py").write_text("VALUE = 3\n")
    assert key() == one and key("two") != two  # only the one that was picked
    (folder / "pick_helper.py").write_text("def twice(x):\n    return x + x + 0\n")
    assert key() != one
    with pytest.raises(ModuleNotFoundError, match=r"pick_operators\.three"):
        key("three")


def task_of(module, **more):
    identity = block_identity(module.run, module.Setting(), 0, 0, "cpu")
    return BlockTask(identity, "pick_sim", "run", module.Setting(), code_roots(module.run, module.Setting()), **more)


def test_what_ran_comes_back_and_agrees(picker):
    module, _ = picker
    task = task_of(module)
    result = run_block(task)
    assert result.arrays["x"].tolist() == [2, 2] and result.ran["code"] == task.identity.code
    assert settled(task.identity, result.ran) == (task.identity, "")


def test_code_that_changed_is_refused_and_not_run(picker):
    module, folder = picker
    task = task_of(module)
    (folder / "pick_helper.py").write_text("def twice(x):\n    return 7 * x\n")
    forget()  # as a worker does that starts now
    result = run_block(task)
    assert not result.arrays
    with pytest.raises(UsageError, match="ran other code for pick"):
        settled(task.identity, result.ran)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"threads": {"openblas": 2}}, "2 threads of openblas"),
        ({"platform": {"torch": "1.0"}}, "has torch 1.0 for"),
        ({"device": "cuda"}, "on cuda, not on cpu"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words(picker, change, message):
    module, _ = picker
    task = task_of(module)
    ran = run_block(task).ran
    for name, value in change.items():
        ran[name] = ran[name] | value if isinstance(value, dict) else value
    with pytest.raises(UsageError, match=message):
        settled(task.identity, ran)


@pytest.mark.parametrize(
    "name, value", [("kernels", "others"), ("instruction_set", "one of no machine"), ("blas", "openblas Itanium")]
)
def test_what_differs_in_platform_is_kept_under_its_own_identity_and_said(picker, name, value):
    module, _ = picker
    task = task_of(module)
    ran = run_block(task).ran
    ran["platform"][name] = value
    kept, words = settled(task.identity, ran)
    assert kept.key != task.identity.key and kept.platform[name] == value
    assert f"{name} {value}, not {task.identity.platform[name]}" in words


def test_a_block_runs_on_one_thread_of_every_library_and_gives_them_back():
    import torch

    before, known = torch.get_num_threads(), threads()
    with one_thread():
        assert not threads()
        with one_thread():
            assert not threads()
        assert not threads()
    assert torch.get_num_threads() == before and threads() == known


def test_modules_picked_by_a_literal_name_and_tables_beside_a_package_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lit_pack").mkdir()
    (tmp_path / "lit_pack" / "__init__.py").write_text("")
    (tmp_path / "lit_pack" / "table.json").write_text("[1]")
    (tmp_path / "lit_pack" / "sim.py").write_text("import importlib\nm = importlib.import_module('lit_other')\n")
    (tmp_path / "lit_other.py").write_text("X = 1\n")
    forget()
    assert {"lit_pack", "lit_pack.sim", "lit_other"} <= set(modules_behind("lit_pack.sim"))
    before = code_fingerprint("lit_pack.sim")
    (tmp_path / "lit_pack" / "table.json").write_text("[2]")
    forget()
    assert code_fingerprint("lit_pack.sim") != before
    forget()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("broken", [pytest.param("ATTNLAB_CACHE", marks=pytest.mark.slow), "ATTNLAB_CC"])
def test_a_process_that_cannot_build_or_load_c_says_so_in_its_platform(tmp_path, broken):
    import os
    import subprocess

    (tmp_path / "file").write_text("no folder")
    environment = os.environ | {broken: str(tmp_path / "file") if broken == "ATTNLAB_CACHE" else ""}
    code = "from attnlab.papers.lab.run.machine import platform; print(platform('cpu')['kernels'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "torch", done.stderr


def test_a_build_that_fails_in_the_worker_gives_the_block_another_identity_and_the_reason(monkeypatch):
    import attnlab.kernels.icl_step.fused
    from attnlab.kernels.compiled import compiler
    from attnlab.papers.lab.run import ran

    roots = ("attnlab.kernels.icl_step.fused",)

    def here(**missing):
        monkeypatch.setattr(compiler, "_missing", missing)
        return ran.here("code", roots, "cpu")

    monkeypatch.setattr(ran, "platform", lambda device: {"kernels": "abc", "torch": "2"})
    assert here()["platform"]["kernels"] == "abc"
    assert (
        here(**{"attention_of_others.c D=3": "no space"})["platform"]["kernels"]
        == "abc without attention_of_others.c D=3"
    )
    source = next(path.name for path in Path(attnlab.kernels.icl_step.fused.__file__).parent.glob("*.c"))
    told = here(**{f"{source} D=5": "OSError: no space left"})
    assert told["platform"]["kernels"] == f"abc without {source} D=5" and told["missing"]
    other = next(name for name in ran._every_source() if name not in ran._sources(roots))
    assert here(**{f"{other} D=5": "no space"})["platform"]["kernels"] == "abc"  # its code does not ask for that source
