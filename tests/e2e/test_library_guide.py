"""docs/guides/library.md as a reader follows it: its Python blocks in their order, real speech, real training on the shipped model."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")
pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")

from infra.coordinator import DataManager
from infra.local.corpus import write_corpus
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer
from infra.local.state_folder import variables_set
from infra.processes import ROOT
from shared import keys
from shared.clock import SystemClock
from shared.testing.memory_bus import MemoryBus

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

PAGE = ROOT / "docs" / "guides" / "library.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, and a bucket and a project as the environment names them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buckets" / "registry").mkdir(parents=True)
    with GcsServer(tmp_path / "buckets") as gcs, PubSubServer(MemoryBus(SystemClock(), "your-project")) as pubsub:
        settings = {
            "STORAGE_EMULATOR_HOST": gcs.url,
            "PUBSUB_EMULATOR_HOST": pubsub.grpc_target,
            "GOOGLE_CLOUD_PROJECT": "your-project",
            "RETUNE_BUCKET": "gs://registry",
            "RETUNE_AUDIO_PREFIXES": "gs://calls",
        }
        with variables_set(settings):
            yield tmp_path


def corpora() -> None:
    """Make the speech that the page's own commands make."""
    for out, clean, noisy, callers, seed in re.findall(
        r"python -m infra\.local\.speech --out (\w+) --clean (\d+) --noisy (\d+)(?: --callers (\d+))?(?: --seed (\d+))?", PAGE.read_text()
    ):
        write_corpus(Path(out), clean=int(clean), noisy=int(noisy), callers_count=int(callers or 60), seed=int(seed or 0))


def test_the_page_does_what_it_says(elsewhere: Path) -> None:
    corpora()
    DataManager().store.put(keys.SPLIT_KEY, b"a key that makes the same speakers judge in each run")
    names: dict[str, Any] = {}
    done: list[dict[str, Any]] = []
    for number, block in enumerate(blocks()):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
        done.append(dict(names))
    quick, trained, again, last = done[0], done[5], done[7]["workflow"], done[-1]
    assert (quick["trigger_result"]["should_trigger"], "workflow" in quick) == (False, False)
    assert trained["result"].version == 1
    assert trained["result"].report.base_version == 0
    # Eight held-out speakers decide nothing, and the order of the errors, whose ids are drawn, moves their WER by points. What must hold
    # of training that is real: of the errors that it was given, many more come out better than worse.
    taught = trained["result"].report.learned_closure
    assert taught.fixed + taught.improved > 2 * taught.worse
    assert (trained["result"].failure_reason is None) == (trained["workflow"].status == "deployed")
    assert again.cycle == 2
    assert again.validation.version == 2
    assert again.validation.report.sets[0].utterances > 0
    assert {path.name for path in (elsewhere / "model").iterdir()} >= {"model.safetensors", "config.json"}
    assert last["workflow"].status == "not_triggered"  # a bucket into which nobody has imported a model
    assert "no model is stable yet" in last["workflow"].reasons[0]
