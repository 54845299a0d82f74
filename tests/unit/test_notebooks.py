"""A notebook in a real kernel: bars are widgets that reach their end, recordings are tables, and nothing outlives it.

The kernel is driven by a process of its own, so that the loops, sockets and warnings of Jupyter's are not this one's.
In the kernel every warning that our own code causes is an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = 300

_RUN = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, timeout=45, kernel_name="python3").execute()
finally:
    nbformat.write(notebook, sys.argv[1])
"""

CELLS = (
    """
import os, warnings
warnings.filterwarnings("error", module="cloudfiles_hypha")
from cloudfiles_hypha import ArtifactFiles
print(os.getpid())
""",
    f"""
cf = ArtifactFiles("mem://notebook")
cf.puts(((f"n/{{n:03}}.txt", b"x" * n) for n in range({FILES})), total={FILES}, progress=True)
len(list(cf.list()))
""",
    "results, rec = cf.get(list(cf.list()), progress='reading', return_recording=True)",
    "cf.download('n/', 'copy', progress=True); len(os.listdir('copy'))",
    "rec",
    "rec.summary()",
    "from cloudfiles_hypha.recording import Table; Table(results)",
    "Table(cf.list(size=True))",
    "cf.get(['n/001.txt', 'gone'], progress='failing', raise_errors=False)[1]['error']",
)


def run(folder: Path, *codes: str) -> Any:
    """A notebook with these cells, after they were run."""
    path = folder / "notebook.ipynb"
    cells = [nbformat.v4.new_code_cell(code.strip()) for code in codes]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
    }
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, str(path)], cwd=folder, env=environment, capture_output=True, text=True, timeout=55
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook that most tests look at."""
    return run(tmp_path_factory.mktemp("notebook"), *CELLS)


def shown(notebook: Any, cell: int) -> list[dict[str, str]]:
    """What a cell displays, by media type."""
    return [output["data"] for output in notebook.cells[cell].outputs if "data" in output]


def bar(notebook: Any, cell: int) -> tuple[dict[str, Any], str]:
    """The bar that a cell displays, as its widget stands at the end, and the text for where widgets are not shown."""
    (data,) = [data for data in shown(notebook, cell) if "application/vnd.jupyter.widget-view+json" in data]
    models = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    box = models[data["application/vnd.jupyter.widget-view+json"]["model_id"]]["state"]
    children = [models[name.removeprefix("IPY_MODEL_")] for name in box["children"]]
    (found,) = [child["state"] for child in children if child["model_name"] == "FloatProgressModel"]
    texts = [child["state"]["value"] for child in children if child["model_name"] == "HTMLModel"]
    return {**found, "texts": " ".join(texts)}, data["text/plain"]


@pytest.mark.parametrize(("cell", "says"), [(1, "put"), (2, "reading"), (3, "download")])
def test_a_bar_is_a_widget_that_reaches_its_total_and_has_a_text_besides(notebook: Any, cell: int, says: str) -> None:
    found, text = bar(notebook, cell)
    assert found["max"] > 0
    assert (found["value"], found["bar_style"]) == (found["max"], "success")
    assert says in found["texts"]
    assert says in text
    assert "%" in text


def test_a_bar_counts_every_file(notebook: Any) -> None:
    assert [bar(notebook, cell)[0]["max"] for cell in (1, 2)] == [FILES, FILES]
    assert shown(notebook, 1)[-1]["text/plain"] == shown(notebook, 3)[-1]["text/plain"] == str(FILES)


def test_a_bar_of_a_call_in_which_something_failed_ends_as_well(notebook: Any) -> None:
    found, _ = bar(notebook, 8)
    assert (found["value"], found["max"]) == (2, 2)
    assert "ObjectNotFound" in shown(notebook, 8)[-1]["text/plain"]


def test_recordings_summaries_results_and_listings_are_bounded_tables(notebook: Any) -> None:
    for cell in (4, 5, 6, 7):
        (data,) = shown(notebook, cell)
        assert "<table" in data["text/html"]
        assert data["text/html"].count("<tr>") < 100 < FILES
        assert len(data["text/plain"]) < 5000
    assert len(json.dumps(shown(notebook, 4))) < 400_000


def test_nothing_is_said_on_standard_error(notebook: Any) -> None:
    said = [output for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []


def test_the_kernel_is_gone(notebook: Any) -> None:
    (process,) = [int(output["text"]) for output in notebook.cells[0].outputs]
    assert not Path(f"/proc/{process}").exists()


def test_without_widgets_a_bar_is_text(tmp_path: Path) -> None:
    code = CELLS[1].replace("cf = ", "import sys; sys.modules['ipywidgets'] = None\ncf = ")
    notebook = run(tmp_path, CELLS[0], code)
    said = "".join(output["text"] for output in notebook.cells[1].outputs if output.get("name") == "stderr")
    assert f"put: 100%|██████████| {FILES}/{FILES}" in said
