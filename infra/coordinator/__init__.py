"""The fine-tuning guide's own API, in one process and without servers; `docs/guides/library.md` walks through it.

config.py, coordinator.py, data_manager.py, orchestrator.py, validator.py, deployer.py, regression.py    the guide's classes
functions.py                             the product's own functions in this process; trainers.py, quiet.py serve it
training.py, by_callback.py, job.py      training here, by the trainer or by a person's own function
production.py                            whoever serves the models [io]
"""

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
