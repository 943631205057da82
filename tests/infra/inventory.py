"""What the default configuration creates, in a form that people read: `python -m tests.infra.inventory` writes it anew.

One block for each resource, with every argument that is known at plan. What follows the code of every day (digests of sources, the
policy's numbers) is named, not shown.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.infra.terraform import Workspace, workspace

GOLDEN = Path(__file__).with_name("inventory.txt")
HEADER = "# What `terraform apply -var project_id=retune-example -var region=europe-west4` creates. Made by `make inventory`.\n"
_SECOND_RUN = '\nrun "the_whole_matrix" {'
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CELL = re.compile(r"^    (\w+)/(\w+) = (\[.*\])$", re.MULTILINE)
_PUBLISHER = re.compile(r'^module\.topic\["([\w-]+)"\]\.google_pubsub_topic_iam_member\.publisher\["(\w+)"\]$', re.MULTILINE)


def default_plan(made: Workspace) -> dict[str, Any]:
    """Return the plan of the run named `default`, as terraform reports it, of that run alone."""
    text = (made.folder / "tests/default.tftest.hcl").read_text(encoding="utf-8")
    (made.folder / "tests/inventory.tftest.hcl").write_text(text[: text.index(_SECOND_RUN)], encoding="utf-8")
    reported = made.test("-verbose", "-filter=tests/inventory.tftest.hcl")
    (made.folder / "tests/inventory.tftest.hcl").unlink()
    plan: dict[str, Any] = next(line["test_plan"] for line in reported if line["type"] == "test_plan" and line["@testrun"] == "default")
    return plan


def resources(plan: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the address and the known arguments of each resource that is created, by address."""
    created = [change for change in plan["resource_changes"] if change["mode"] == "managed" and "create" in change["change"]["actions"]]
    return sorted((change["address"], change["change"]["after"]) for change in created)


def inventory(plan: dict[str, Any]) -> str:
    """Return the inventory's text."""
    blocks = ["\n".join((address, *(f"    {line}" for line in _lines("", after)))) for address, after in resources(plan)]
    told = plan["output_changes"]
    outputs = ["\n".join((f"output {name}", *(f"    {line}" for line in _lines("", told[name].get("after"))))) for name in sorted(told)]
    return HEADER + "\n" + "\n\n".join((*blocks, *outputs)) + "\n"


def granted(text: str) -> dict[str, dict[str, frozenset[str]]]:
    """Return account -> top folder -> verbs, as an inventory tells them."""
    access: dict[str, dict[str, frozenset[str]]] = {}
    block = text[text.index("\noutput access\n") :].split("\n\n", maxsplit=1)[0]
    for account, folder, verbs in _CELL.findall(block):
        access.setdefault(account, {})[folder] = frozenset(json.loads(verbs))
    return access


def publishers(text: str) -> dict[str, frozenset[str]]:
    """Return account -> topics that it may publish to, as an inventory tells them."""
    found: dict[str, set[str]] = {}
    for topic, account in _PUBLISHER.findall(text):
        found.setdefault(account, set()).add(topic)
    return {account: frozenset(topics) for account, topics in found.items()}


def _lines(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _lines(f"{path}.{name}" if path else name, value[name])
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _lines(f"{path}[{index}]" if len(value) > 1 else path, item)
    elif path.endswith("RETUNE_POLICY"):
        yield f"{path} = (var.policy)"
    elif path == "dashboard_json":
        yield f"{path} = {', '.join(tile['widget']['title'] for tile in json.loads(value)['mosaicLayout']['tiles'])}"
    elif value not in (None, "", [], {}) or path.endswith("ttl"):
        yield f"{path} = {_DIGEST.sub('(digest)', json.dumps(value))}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(inventory(default_plan(workspace(Path(folder)))), encoding="utf-8")
