"""The fine-tuning guide's own API, in one process and without servers; `docs/guides/library.md` walks through it."""

from infra.coordinator.config import FinetuningConfig
from infra.coordinator.coordinator import FinetuningCoordinator, Workflow
from infra.coordinator.data_manager import DataManager
from infra.coordinator.deployer import ModelDeployer
from infra.coordinator.job import TrainedModel, TrainingClip, TrainingJob
from infra.coordinator.orchestrator import FinetuningOrchestrator, TriggerResult
from infra.coordinator.regression import RegressionResult, RegressionTester
from infra.coordinator.validator import ModelValidator, ValidationResult

__all__ = [
    "DataManager",
    "FinetuningConfig",
    "FinetuningCoordinator",
    "FinetuningOrchestrator",
    "ModelDeployer",
    "ModelValidator",
    "RegressionResult",
    "RegressionTester",
    "TrainedModel",
    "TrainingClip",
    "TrainingJob",
    "TriggerResult",
    "ValidationResult",
    "Workflow",
]
