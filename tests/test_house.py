"""The rules of the house: who may import whom, what is packaged, what stays out of the repository."""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "theory": {"theory"},
    "kernels": {"kernels"},
    "analysis": {"analysis"},
    "simulators": {"simulators", "kernels"},
    "papers": {"papers", "theory", "kernels", "simulators", "analysis"},
}
SHARED = {
    "theory": {"costs", "preconditioned_regression", "score_ensembles"},
    "simulators": {"ensemble", "models", "planted", "serving", "tasks"},
}
"""Rooms of theory/ and simulators/ that every subject may use: what two subjects share, named after what it is."""

TESTS_OF_A_ROOM = {
    "analysis/instruments/test_laws.py": "closed forms of single instruments",
    "analysis/instruments/test_laws_of_causes.py": "instruments that act on a model, on hand-written models",
    "analysis/instruments/test_laws_of_explanations.py": "closed forms of instruments on explanations",
    "analysis/instruments/test_laws_of_states.py": "closed forms of instruments on states and on graphs of maps",
    "analysis/instruments/test_planted.py": "members with one false word, for the family's test",
    "analysis/judges/test_honesty.py": "judges that keep their promise on skewed, stuck and bent data",
    "analysis/judges/test_resolution.py": "what the data resolve, in every judge",
    "analysis/test_tutorial_theorem.py": "the code of docs/tutorial_theorem.md",
    "analysis/theorems/test_campaign.py": "the campaign of random statements in campaign/, and its committed tables",
    "analysis/theorems/test_truth.py": "statements of known truth, several of every kind",
    "docs/test_references.py": "citations and tables of contents of the documents",
    "docs/test_site.py": "the built site, in a browser",
    "docs/test_snippets.py": "the code of README and docs",
    "kernels/attention/test_calls.py": "what repeated calls of the face remember",
    "kernels/attention/test_derivatives.py": "derivatives of every path against finite differences",
    "kernels/attention/test_fuzz.py": "random calls against the oracle in fuzz/",
    "kernels/attention/test_infinities.py": "infinities that a query sees, on every path",
    "kernels/attention/test_masks_and_biases.py": "masks and biases together, on every path",
    "kernels/attention/test_one_meaning.py": "what is not finite, hidden, aligned or stored oddly, on every path",
    "kernels/attention/test_autocast.py": "values and derivatives under autocast, on every path",
    "kernels/attention/test_where_numbers_lie.py": "tensors whose numbers do not lie at their address, on every path",
    "kernels/attention/test_refusals.py": "arguments of the face that are refused or mean the same",
    "kernels/attention/test_traces_and_maps.py": "mapped masks, traces, tensors without numbers, forks",
    "kernels/operators/test_planted.py": "members with one false word, for the family's test",
    "papers/lab/commands/test_first_minutes.py": "what a newcomer types first",
    "papers/lab/python/test_notebook.py": "the notebook of docs/examples",
    "papers/lab/test_own_paper.py": "the repository of docs/examples/own_paper",
    "theory/fixed_patterns/test_laws.py": "laws of fixed patterns on the operators themselves",
    "theory/mixers_and_channels/test_laws.py": "laws of mixers and channel gates on the operators themselves",
    "theory/positional_attention/test_laws.py": "laws of positional operators on the operators themselves",
    "theory/score_mixing/test_laws.py": "laws of score mixing and graphs on the operators themselves",
    "theory/sparse_selection/test_laws.py": "laws of sparse selection on the operators and on sampled scores",
    "theory/score_maps/test_laws.py": "one experiment on random scores for all maps of the room",
    "theory/base_scores/test_special_cases.py": "laws of rows where another formula gives the same number",
    "theory/fixed_patterns/test_special_cases.py": "laws of fixed patterns where another formula gives the same number",
    "theory/gates_and_memory/test_special_cases.py": "laws of linear memories where another formula gives the same number",
    "theory/heads_and_sharing/test_special_cases.py": "laws of shared maps and routed heads where another formula gives the same number",
    "theory/linear_variants/test_special_cases.py": "laws of linear variants where another formula gives the same number",
    "theory/mixers_and_channels/test_special_cases.py": "laws of mixers where another formula gives the same number",
    "theory/positional_attention/test_special_cases.py": "laws of positions where another formula gives the same number",
    "theory/score_maps/test_special_cases.py": "laws of score maps where another formula gives the same number",
    "theory/score_mixing/test_special_cases.py": "laws of mixed scores where another formula gives the same number",
    "theory/sparse_selection/test_special_cases.py": "laws of sparse selection where another formula gives the same number",
}
"""Tests that belong to a room rather than to one file of it, with what they are about."""

TESTED_ELSEWHERE = {
    "kernels/attention/scores/formula": "tests/kernels/attention/scores",
    "kernels/generated/rules": "tests/kernels/generated/test_trace.py runs every rule",
    "papers/lab/parts": "tests/papers/lab/commands/test_new.py makes one of each",
    "simulators/models": "tested with the subjects that use them",
}
"""Rooms without tests of the same path, with where their tests are."""

FAMILIES = {"analysis/instruments": "test_every_instrument.py", "kernels/operators": "test_every_operator.py"}
"""Folders whose rooms hold members that one test runs over."""

NEVER_IN_THEORY = {"torch", "matplotlib", "triton"}


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(tree):
    """Absolute names of everything a syntax tree imports, and the relative imports it makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def violations(folder, text):
    """What a file of ``folder`` imports against the rules."""
    found = []
    for name in imported(ast.parse(text)):
        parts = name.split(".")
        if name.startswith(".") or parts[0] in MAY_IMPORT:
            found.append(name)  # relative, or `import theory`: a second copy of the module
        elif parts[0] == "attnlab" and (len(parts) < 2 or parts[1] not in MAY_IMPORT[folder]):
            found.append(name)
        elif folder == "theory" and parts[0] in NEVER_IN_THEORY:
            found.append(name)
    return found


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_its_row_allows(folder):
    found = {
        str(path.relative_to(ROOT)): bad
        for path in sources(folder)
        if (bad := violations(folder, path.read_text(encoding="utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "folder, line",
    [
        ("theory", "import torch"),
        ("theory", "from attnlab.simulators.ensemble.trainer import train"),
        ("simulators", "import theory"),
        ("simulators", "from attnlab.theory.in_context_regression.effective_loss import x"),
        ("analysis", "from . import verdict"),
        ("kernels", "from attnlab.analysis import agrees"),
    ],
)
def test_the_import_check_sees_a_forbidden_line(folder, line):
    assert violations(folder, f"def f():\n    {line}\n")


@functools.cache
def imports_of_modules():
    """What each module of the tree imports of the tree, wherever in the file: ``{"attnlab.theory.x": {...}}``."""
    paths = {
        "attnlab." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources(*MAY_IMPORT)
    }
    graph = {}
    for name, path in paths.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {each if each in paths else node.module for each in whole}
        graph[name] = found & set(paths) - {name}
    return graph


def circles(graph):
    """Groups of modules that import each other, directly or through others (Tarjan's strongly connected components)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_no_files_import_each_other_in_a_circle():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles(imports_of_modules()) == []


def between_subjects(graph):
    """Imports of one subject of theory/ or simulators/ from another."""
    for name, found in graph.items():
        _, folder, *inside = name.split(".")
        for other in found:
            _, home, *there = other.split(".")
            apart = len(inside) > 1 and len(there) > 1 and inside[0] != there[0]
            if folder in SHARED and home == folder and apart and there[0] not in SHARED[folder]:
                yield f"{name} imports {other}"


def test_no_subject_imports_another():
    twin = {
        "attnlab.theory.low_rank.ranks": {"attnlab.theory.softmax_attention.softmax", "attnlab.theory.costs.lightning"}
    }
    assert len(list(between_subjects(twin))) == 1
    assert not list(between_subjects(imports_of_modules()))


def test_the_tests_mirror_the_tree():
    astray = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        inside = path.relative_to(ROOT / "tests")
        folder, name = ROOT / inside.parent, inside.stem.removeprefix("test_")
        mirrored = (folder / f"{name}.py").exists() or (folder / name).is_dir() or folder.name == name
        if (
            len(inside.parts) > 1
            and not mirrored
            and not name.startswith("every_")
            and str(inside) not in TESTS_OF_A_ROOM
        ):
            astray.append(str(inside))
    assert not astray, "name the test after the file or folder it tests, or say in TESTS_OF_A_ROOM what it is about"
    assert not [name for name in TESTS_OF_A_ROOM if not (ROOT / "tests" / name).exists()]


def test_every_room_has_tests():
    rooms = {path.parent for path in sources(*MAY_IMPORT) if not path.stem.startswith("__")}
    assert all((ROOT / "tests" / family / test).exists() for family, test in FAMILIES.items())
    untested = [
        name
        for name in sorted(str(room.relative_to(ROOT)) for room in rooms)
        if not list((ROOT / "tests" / name).glob("test_*.py"))
        and name not in TESTED_ELSEWHERE
        and name.rpartition("/")[0] not in FAMILIES
    ]
    assert not untested
    assert not [name for name in TESTED_ELSEWHERE if list((ROOT / "tests" / name).glob("test_*.py"))]


def test_names_of_simulations_are_written_out_and_unique():
    names = []
    for path in sources("simulators"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "simulation":
                names += [word.value.value for word in node.keywords if word.arg == "name"]
    assert len(names) > 60 and len(set(names)) == len(names)  # a name seeds the replicas


def test_every_folder_with_modules_is_a_package_that_says_what_it_holds():
    folders = {path.parent for path in sources(*MAY_IMPORT)}
    without = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]
    assert not without, "a folder without __init__.py imports when editable and is missing from the wheel"
    silent = [
        str(folder.relative_to(ROOT))
        for folder in folders
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert not silent


def test_importing_every_module_runs_nothing_and_plain_names_stay_unimportable():
    modules = [
        "attnlab." + str(path.relative_to(ROOT)).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in sources(*MAY_IMPORT)
        if path.name != "__main__.py" and path.parent.name != "gpu" and "pytest_plugin" not in path.name
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "import torch, numpy as np, matplotlib\n"
        "assert torch.get_default_dtype() is torch.float32\n"
        "assert not [m for m in ('theory', 'simulators', 'analysis', 'kernels', 'papers') if m in sys.modules]\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=280)
    assert done.returncode == 0 and done.stdout == "", done.stderr


def test_the_command_line_answers_help_without_heavy_imports():
    code = (
        "import sys\nfrom attnlab.papers.lab.commands.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert not e.code\n"
        "heavy = {'torch', 'numpy', 'scipy', 'sympy', 'matplotlib', 'rich'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_file_unpickles_or_names_a_machine_path():
    forbidden = re.compile(r"allow_pickle\s*=\s*True|pickle\.load|weights_only\s*=\s*False|/(?:work|root|home)/\w")
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split()
    paths = [ROOT / name for name in tracked] or sources(*MAY_IMPORT)
    found = [
        str(p)
        for p in paths
        if p.suffix in {".py", ".md", ".toml", ".c", ".txt"}
        and p.exists()
        and p != Path(__file__).resolve()
        and forbidden.search(p.read_text(encoding="utf-8"))
    ]
    assert not found


def test_every_commit_runs_another_slice_of_the_slow_tests_and_always_the_same():
    spec = importlib.util.spec_from_file_location("suite", ROOT / "tests" / "conftest.py")
    suite = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(suite)
    names = [f"tests/a.py::test_{k}" for k in range(2_400)]
    slices = {commit: {name for name in names if suite.chosen(name, commit, 24)} for commit in ("a1", "b2")}
    assert slices["a1"] == {name for name in names if suite.chosen(name, "a1", 24)} != slices["b2"]
    assert all(50 < len(each) < 150 for each in slices.values())  # 100 expected, five standard deviations are 49
    assert not any(suite.chosen(name, "a1", 0) for name in names)


def test_the_documents_link_to_files_that_are_there():
    broken = [
        f"{page.name}: {target}"
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken


def words_alone(text):
    """The names of a text that are no part of a path or of a dotted name."""
    return set(re.findall(r"(?<![\w/.])[a-z]\w*(?![\w.])", text))


def test_no_file_lists_papers_or_subjects_by_hand():
    """Whoever lies in a folder is in: no code, no build file and no table of contents names a third of its members."""
    families = {
        "papers": [path.name for path in (ROOT / "papers").iterdir() if (path / "paper.py").exists()],
        **{folder: [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")] for folder in SHARED},
    }
    files = [ROOT / name for name in ("pyproject.toml", "setup.py", "Makefile", "docs/index.md", "docs/conf.py")]
    files = [path for path in files if path.exists()]  # an installed tree has not all of them
    files += [path for path in sources(*MAY_IMPORT, "tests") if not path.parent.name.startswith("test")]
    found = {}
    for path in files:
        words = words_alone(path.read_text(encoding="utf-8"))
        for members in families.values():
            named = words.intersection(members)
            if len(named) >= len(members) / 3:
                found[str(path.relative_to(ROOT))] = sorted(named)
    assert not found
    assert words_alone("papers = ['a_1', 'b_2']; import x.a_3, y/a_4") == {"papers", "a_1", "b_2", "import", "y"}
