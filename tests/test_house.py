"""The rules of the house: who may import whom, what is packaged, what stays out of the repository."""

import ast
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
    "theory": set(),
    "simulators": {"ensemble", "tasks", "models", "planted"},
}
"""Rooms of theory/ and simulators/ that any subject may use; a room of theory without underscore-free subject names is below."""

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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=120)
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


def test_the_example_of_the_readme_runs_and_holds():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n", 1)[1].split("```", 1)[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("HOLDS"), done.stderr


def test_the_documents_link_to_files_that_are_there():
    broken = [
        f"{page.name}: {target}"
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken
