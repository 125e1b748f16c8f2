"""A process that simulates loads what it needs: neither Triton nor sympy nor matplotlib, half a second to a second each."""

import subprocess
import sys

PROGRAM = """
import sys
from attnlab.simulators.ensemble.trainings import all_simulations
assert len(all_simulations()) > 250
print([name for name in ("triton", "sympy", "matplotlib") if name in sys.modules])
"""


def test_no_simulator_loads_triton_sympy_or_matplotlib():
    assert subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout == "[]\n"


DRIVER = """
import sys
from attnlab.papers.lab.run import plan
from attnlab.papers.lab.registry import select
select(["gatv2_dynamic_attention"])
print([name for name in ("triton", "sympy", "matplotlib") if name in sys.modules])
"""


def test_a_run_that_draws_nothing_loads_no_matplotlib():
    assert subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, text=True, check=True).stdout == "[]\n"
