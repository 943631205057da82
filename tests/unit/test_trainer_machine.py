"""What a trainer knows of its machine."""

import pytest

from shared.machine import Machine
from trainer.shell.machine import find_machine

SPOT = Machine(machine_type="g2-standard-8", provisioning="spot")


def test_a_trainer_is_told_of_its_machine_by_its_environment() -> None:
    assert find_machine({"PATH": "/bin", **SPOT.to_env()}) == SPOT


def test_where_nobody_tells_it_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert find_machine({"PATH": "/bin"}) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "environ",
    [
        {"RETUNE_MACHINE_TYPE": "g2-standard-8", "RETUNE_PROVISIONING": "SPOT"},
        {"RETUNE_MACHINE_TYPE": "g2-standard-8"},
        {"RETUNE_PROVISIONING": "spot"},
    ],
)
def test_words_that_nobody_knows_are_told_and_stop_no_training(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert find_machine(environ) is None
    assert "expected RETUNE_MACHINE_TYPE as g2-standard-8 and RETUNE_PROVISIONING as spot or standard" in capsys.readouterr().out
