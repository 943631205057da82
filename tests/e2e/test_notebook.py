"""docs/notebooks/one_cycle.ipynb runs from top to bottom, on real speech and with real training; it is stored without outputs."""

import asyncio
import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")
pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")
pytest.importorskip("matplotlib", reason="the extra `notebook` is not installed")
pytest.importorskip("nbclient", reason="the extra `notebook` is not installed")

import nbclient
import nbformat

from infra.coordinator import DataManager
from infra.local.state_folder import variables_set
from infra.processes import ROOT, environment
from shared import keys

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

NOTEBOOK = ROOT / "docs" / "notebooks" / "one_cycle.ipynb"


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def test_it_goes_through_a_whole_cycle_with_plots(tmp_path: Path) -> None:
    DataManager(directory=tmp_path / "data").store.put(keys.SPLIT_KEY, b"a key that makes the same speakers judge in each run")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    variables = {"PYTHONPATH": environment()["PYTHONPATH"], "OMP_WAIT_POLICY": "PASSIVE", "IPYTHONDIR": str(tmp_path / "ipython")}
    with variables_set({**variables, "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter")}):
        client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
        asyncio.run(client.async_execute())
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    text = "".join(output["text"] for output in outputs if output.output_type == "stream" and output.name == "stdout")
    (status,) = re.findall(r"^(deployed|rejected|inconclusive)$", text, flags=re.MULTILINE)
    last = "rollback v1: v0 is stable" if status == "deployed" else "v0 has no good version before it"
    assert last in text.splitlines()[-1], text
    assert re.search(r"^change of WER: -\d+\.\d+ points", text, flags=re.MULTILINE)
    assert [output for output in outputs if "data" in output and "Stable: v0" in output["data"].get("text/plain", "")]
