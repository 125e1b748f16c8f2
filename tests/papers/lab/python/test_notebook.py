"""The notebook of the documentation runs in a kernel: no traceback, no cell runs twice, verdicts and figures show as HTML."""

from pathlib import Path

import pytest

pytestmark = (
    pytest.mark.slow
)  # a kernel and a worker: a minute; the pages of docs/howto run the same calls in every run
EXAMPLES = Path(__file__).resolve().parents[4] / "docs" / "examples"
NOTEBOOK, OWN_PAPER = EXAMPLES / "first_look.ipynb", EXAMPLES / "own_paper"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient", reason="extra dev: nbclient")
    pytest.importorskip("ipykernel", reason="extra dev: ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    marked = 0
    for cell in notebook.cells:  # every cell leaves a mark each time it runs, in whichever process
        if cell.cell_type == "code":
            cell.source = f"open('ran.txt', 'a').write('{marked}\\n');\n{cell.source}"
            marked += 1
    # and a simulation that lies in a module, so that it runs in a spawned worker
    call = f"stored = reproduce({str(OWN_PAPER / 'gaussian_logits' / 'paper.py')!r} + '::participation', scale='smoke', workers=1)"
    notebook.cells.append(nbformat.v4.new_code_cell(f"{call}\nstored"))
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert list((folder / "attnlab-results" / "blocks").glob("*/*.npz")), "the worker's block is stored"
    return notebook, (folder / "ran.txt").read_text().split(), marked


def outputs(notebook, text):
    """The outputs of the first cell whose source holds the text."""
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source)
    return cell.outputs


def test_every_cell_runs_once_without_a_traceback(executed):
    notebook, ran, marked = executed
    assert ran == [str(k) for k in range(marked)]
    kinds = {output.output_type for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs}
    assert "error" not in kinds


def test_verdicts_claims_and_papers_show_as_html(executed):
    notebook, _, _ = executed
    for text, words in (
        ("results = reproduce", ["HOLDS", "classical_facts.lipschitz_l2", "<table"]),
        ("claim = results", ["HOLDS", "<table"]),
        ("mine = reproduce", ["HOLDS", "my_notebook.participation"]),
        ("stored = reproduce", ["HOLDS", "gaussian_logits.participation"]),
    ):
        html = "".join(o.data.get("text/html", "") for o in outputs(notebook, text) if "data" in o)
        assert all(word in html for word in words), text


def test_a_simulation_of_a_cell_says_that_it_is_not_stored(executed):
    notebook, _, _ = executed
    said = "".join(o.get("text", "") for o in outputs(notebook, "mine = reproduce"))
    assert "notebook.rows is defined in a script or a cell" in said and "not stored" in said
