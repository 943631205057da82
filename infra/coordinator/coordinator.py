"""The guide's coordinator: one call goes from collected errors to a judged and, if you like, deployed model.

A face over the product's own functions, which run in this process: it decides nothing that they do not decide.
"""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from functions.states import find_state
from functions.views.status import StatusReport, look
from infra import status
from infra.coordinator.config import FinetuningConfig
from infra.coordinator.data_manager import DataManager
from infra.coordinator.deployer import ModelDeployer
from infra.coordinator.functions import Functions
from infra.coordinator.job import TrainingCallback, Transcribe
from infra.coordinator.orchestrator import FinetuningOrchestrator, TriggerResult
from infra.coordinator.regression import RegressionTester
from infra.coordinator.training import check_can_train, train
from infra.coordinator.validator import ModelValidator, ValidationResult
from infra.errors import Refused
from infra.people import Answer
from shared import keys
from shared.cas import find
from shared.cycle import CycleState, Status


@dataclass(frozen=True)
class Workflow:
    """What became of `run_complete_workflow`.

    Attributes:
        status: where the cycle stands, or `not_triggered`.
        cycle: its number, and that of the model which it makes; None = none was opened.
        reasons: why it stands there.
        trigger: the decision before.
        validation: the verdict; None = it did not come to one.
        deployment: the answer to the deployment; None = none was asked for, or there was nothing to deploy.
    """

    status: str
    cycle: int | None
    reasons: tuple[str, ...]
    trigger: TriggerResult
    validation: ValidationResult | None = None
    deployment: Answer | None = None

    @property
    def deployed(self) -> bool:
        """The model serves everybody."""
        return self.status == Status.DEPLOYED


def in_python(seen: StatusReport) -> str | None:
    """Return what a person does next here, where the status names a command of `retune`; None = it names none. Pure."""
    if seen.production is None or seen.production.stable is None:
        return "coordinator.deployer.import_model(FOLDER or a name on the hub)"
    if seen.running is None:
        return None
    calls = {
        Status.AWAITING_APPROVAL: "coordinator.orchestrator.approve(reason=...), then run_complete_workflow()",
        Status.ACCEPTED: f"coordinator.deployer.deploy({seen.running.state.cycle})",
        Status.CANARY: f"coordinator.deployer.watch(), deploy({seen.running.state.cycle}) or rollback()",
    }
    return calls.get(seen.running.state.status, "coordinator.run_complete_workflow() carries it on")


class FinetuningCoordinator:
    """Everything in one place; see `docs/guides/library.md`.

    Attributes:
        orchestrator: when to train.
        validator: the verdicts.
        deployer: which model serves.
        regression_tester: suites that no model may be worse on.
        policy: every number in force.

    Args:
        data_manager: where everything lies.
        use_gcs: only as `data_manager` has it; None = so.
        project_id: of the topic that hears of new models, with `use_gcs` only; None = as the environment says.
        config: when and how to train.

    Raises:
        Refused: the arguments contradict each other, or functions are deployed over the same bucket.
        Unreachable: with `use_gcs`, a setting is missing.
    """

    def __init__(
        self,
        data_manager: DataManager,
        use_gcs: bool | None = None,  # noqa: FBT001 - the guide's call
        project_id: str | None = None,
        config: FinetuningConfig | None = None,
    ) -> None:
        if use_gcs is not None and use_gcs != data_manager.use_gcs:
            raise Refused(f"use_gcs: expected {data_manager.use_gcs}, as the data_manager has it, found {use_gcs}")
        self.policy = (config or FinetuningConfig()).to_policy(data_manager.settings.policy)
        self._functions = Functions(data_manager, self.policy, project_id)
        self._callback: TrainingCallback | None = None
        self._hear_base: Transcribe | None = None
        self.orchestrator = FinetuningOrchestrator(self._functions)
        self.validator = ModelValidator(self._functions)
        self.deployer = ModelDeployer(self._functions)
        self.regression_tester = RegressionTester(self._functions)

    def set_training_callback(self, callback: TrainingCallback | None) -> None:
        """Have a function of yours train, which makes a `TrainedModel` or a model's folder of a `TrainingJob`; None = the trainer."""
        self._callback = callback

    def set_baseline_transcribe_function(self, transcribe: Transcribe | None) -> None:
        """Have the baseline's hypotheses made by a function from an audio file to a text. None = by the model that is stable."""
        self._hear_base = transcribe

    def print_status(self, console: Console | None = None) -> None:
        """Print what is collected, which cycle runs, and what serves."""
        out, seen = console or Console(), look(self._functions.ports)
        out.print(status.render(seen))
        if (here := in_python(seen)) is not None:
            out.print(f"In Python: {here}", markup=False, highlight=False)

    def run_complete_workflow(self, force_trigger: bool = False, auto_deploy: bool = False) -> Workflow:  # noqa: FBT001, FBT002 - the guide's call
        """Open a cycle if there is reason to, train, judge, and deploy if that is asked for; or carry on the cycle that runs.

        Args:
            force_trigger: skip thresholds, cooldown and approval; nothing else.
            auto_deploy: make an accepted model stable, or begin its canary where the policy wants one.

        Raises:
            Refused: neither the trainer's packages nor a callback are there to train.
            Unreachable: another process works in the same folder.
        """
        with self._functions.alone():
            if self._callback is None:
                check_can_train()
            trigger = self.orchestrator.check_trigger_conditions(force=force_trigger)
            state, reasons = self.orchestrator.open(force=force_trigger)
            if state is None:
                return Workflow(status="not_triggered", cycle=None, reasons=tuple(reasons), trigger=trigger)
            while (run := self._functions.trainers.waiting()) is not None:
                train(self._functions, run, self._callback, self._hear_base)
            return self._conclude(state.cycle, trigger, auto_deploy=auto_deploy)

    def _conclude(self, cycle: int, trigger: TriggerResult, *, auto_deploy: bool) -> Workflow:
        state = self._state(cycle)
        deploys = auto_deploy and state.status == Status.ACCEPTED
        deployment = self.deployer.deploy(cycle, reason="auto_deploy") if deploys else None
        state = self._state(cycle)
        judged = find(self._functions.ports.store, keys.report(cycle)) is not None
        return Workflow(
            status=state.status,
            cycle=cycle,
            reasons=(state.reason,),
            trigger=trigger,
            validation=self.validator.validate(cycle) if judged else None,
            deployment=deployment,
        )

    def _state(self, cycle: int) -> CycleState:
        state = find_state(self._functions.ports, cycle)
        if state is None:
            raise Refused(f"cycle {cycle}: expected its state to stay, found none")
        return state

    @property
    def log_path(self) -> Path:
        """Where the functions' log lines go."""
        return self._functions.data.log_path
