"""What the guide's fields are in our policy; what nothing can honour is refused with the reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from infra.coordinator import FinetuningConfig
from shared.policy import Policy
from shared.training import LoraConfig, TrainingConfig


def test_nothing_said_is_the_default_policy() -> None:
    assert FinetuningConfig().to_policy() == Policy()


def test_the_guides_configurations_are_thresholds_and_approval() -> None:
    development = FinetuningConfig(min_error_cases=10, auto_approve_finetuning=True).to_policy()
    assert development == Policy(min_error_cases=10, auto_approve_finetuning=True)
    production = FinetuningConfig(
        min_error_cases=100, min_corrected_cases=50, trigger_on_error_rate=True, error_rate_threshold=0.15, auto_approve_finetuning=False
    ).to_policy()
    assert production == Policy(trigger_on_error_rate=True)


def test_what_is_not_said_stays_as_the_policy_or_the_environment_has_it() -> None:
    deployed = Policy(min_error_cases=7, cooldown_s=1.0, auto_deploy=True)
    assert FinetuningConfig(min_corrected_cases=3).to_policy(deployed) == Policy(min_error_cases=7, min_corrected_cases=3, cooldown_s=1.0)
    own = FinetuningConfig(policy=Policy(min_speakers=5), min_error_cases=9)
    assert own.to_policy(deployed) == Policy(min_speakers=5, min_error_cases=9)


@pytest.mark.parametrize(
    ("said", "training"),
    [
        ({"num_epochs": 5, "batch_size": 8, "learning_rate": 3e-5}, TrainingConfig(epochs=5, batch_size=8, learning_rate=3e-5)),
        ({"lora_rank": 8, "lora_alpha": 16}, TrainingConfig(lora=LoraConfig(rank=8, alpha=16.0))),
        ({"lora_rank": 4}, TrainingConfig(lora=LoraConfig(rank=4, alpha=8.0))),
        ({"no_lora": True}, TrainingConfig(method="full")),
    ],
)
def test_the_guides_training_flags_are_the_trainers_config(said: dict[str, Any], training: TrainingConfig) -> None:
    assert FinetuningConfig(**said).to_policy().training == training


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"output_dir": "models"}, "models lie in the registry; ModelDeployer.download"),
        ({"auto_deploy": True}, r"run_complete_workflow\(auto_deploy=True\)"),
        ({"warmup_lambda": 3}, "warmup_lambda: nothing here can honour it"),
        ({"error_rate_threshold": 0.1}, "expected trigger_on_error_rate=True beside it"),
        ({"no_lora": True, "lora_rank": 8}, "lora_rank: expected none with no_lora=True"),
        ({"policy": Policy(auto_deploy=True)}, "policy.auto_deploy: expected False"),
        ({"min_error_cases": 0}, "min_error_cases"),
        ({"num_epochs": 0}, "training.epochs"),
    ],
)
def test_what_nothing_can_honour_is_refused_with_the_reason(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        FinetuningConfig(**said)
