"""Every promise of infra/, broken on a copy, is seen by the assertion that makes it."""

import re

import pytest

from tests.infra.mutations import Mutation, batches, failures, mutations
from tests.infra.terraform import INFRA, Workspace


@pytest.mark.terraform
@pytest.mark.parametrize("batch", batches(), ids=lambda batch: f"{batch[0].test}-{batch[0].batch}")
def test_a_broken_promise_is_noticed(batch: tuple[Mutation, ...], terraform: Workspace) -> None:
    assert failures(terraform, batch) == frozenset().union(*(mutation.noticed for mutation in batch))


@pytest.mark.parametrize("batch", batches(), ids=lambda batch: f"{batch[0].test}-{batch[0].batch}")
def test_no_two_of_a_batch_are_noticed_by_the_same_assertion(batch: tuple[Mutation, ...]) -> None:
    for mutation in batch:
        assert [other.promise for other in batch if mutation.caught in other.noticed] == [mutation.promise]


def test_every_assertion_has_a_promise_that_it_notices() -> None:
    noticed = {name for mutation in mutations() for name in mutation.noticed}
    messages = [
        (path.name, message)
        for path in (INFRA / "tests").glob("*.tftest.hcl")
        for message in re.findall(r'^    error_message = "(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(messages) >= 25
    unbroken = [message for _, message in messages if not any(message.startswith(name) for name in noticed)]
    assert unbroken == []


def test_each_skip_of_checkov_tells_its_reason() -> None:
    skips = [line for path in INFRA.rglob("*.tf") for line in path.read_text(encoding="utf-8").splitlines() if "checkov:skip" in line]
    assert all(re.search(r"# checkov:skip=CKV2?_GCP_\d+: \S.{20,}$", line) for line in skips)
    assert not re.search(r"^(skip-check|soft-fail)", "\n".join(path.read_text() for path in INFRA.glob(".checkov*")), re.MULTILINE)
