"""The fields of the fine-tuning guide, and what each of them is in the policy that everything else obeys. Pure."""

from typing import Any, Self

from pydantic import model_validator

from shared.documents import Frozen
from shared.policy import Policy

ELSEWHERE = {
    "audio_dir": "report clips with DataManager.report_error, or fine-tune on a folder with `retune finetune --audio-dir`",
    "output_dir": "models lie in the registry; ModelDeployer.download copies one into a folder",
    "dataset_id": "a cycle's dataset is sealed from what was reported, under the cycle's number",
    "use_gcs": "it is a field of DataManager",
    "project_id": "it is a field of FinetuningCoordinator",
    "auto_deploy": "it is asked for by FinetuningCoordinator.run_complete_workflow(auto_deploy=True)",
}
"""Names that people bring from the guide's flags, and where they belong."""
_THRESHOLDS = (
    "min_error_cases",
    "min_corrected_cases",
    "trigger_on_error_rate",
    "error_rate_threshold",
    "auto_approve_finetuning",
)
_LORA = ("lora_rank", "lora_alpha")


class FinetuningConfig(Frozen):
    """When to train, and how; what is not said is as the policy has it.

    Attributes:
        min_error_cases, min_corrected_cases: so many new errors, or new errors with a person's reference, cross the threshold.
        trigger_on_error_rate, error_rate_threshold: cross when the lower confidence bound of the stable model's error rate is above it;
            needs reports of traffic.
        auto_approve_finetuning: start without waiting for `orchestrator.approve`.
        num_epochs, batch_size, learning_rate: of the training; None = the policy's.
        lora_rank, lora_alpha: of LoRA; alpha is twice the rank where only the rank is said.
        no_lora: True = train everything but the convolutions, False = LoRA, None = as the policy has it.
        policy: every other number; None = the default policy, or with `use_gcs=True` that of the environment.
    """

    min_error_cases: int = Policy().min_error_cases
    min_corrected_cases: int = Policy().min_corrected_cases
    trigger_on_error_rate: bool = Policy().trigger_on_error_rate
    error_rate_threshold: float = Policy().error_rate_threshold
    auto_approve_finetuning: bool = Policy().auto_approve_finetuning
    num_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    no_lora: bool | None = None
    policy: Policy | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_nothing_can_honour(cls, values: Any) -> Any:
        unknown = sorted(set(values) - set(cls.model_fields)) if isinstance(values, dict) else []
        if unknown:
            reasons = "; ".join(f"{name}: {ELSEWHERE.get(name, 'nothing here can honour it')}" for name in unknown)
            raise ValueError(f"expected some of {', '.join(cls.model_fields)}, found {reasons}")
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        policy = self.to_policy()  # refuses numbers that are out of its bounds
        if "error_rate_threshold" in self.model_fields_set and not policy.trigger_on_error_rate:
            raise ValueError("error_rate_threshold: expected trigger_on_error_rate=True beside it, without which nothing looks at it")
        given = [name for name in _LORA if getattr(self, name) is not None]
        if self.no_lora and given:
            raise ValueError(f"{', '.join(given)}: expected none with no_lora=True, which trains every layer")
        if self.policy is not None and self.policy.auto_deploy:
            raise ValueError(f"policy.auto_deploy: expected False: {ELSEWHERE['auto_deploy']}")
        return self

    def to_policy(self, default: Policy | None = None) -> Policy:
        """Return the policy that these fields make.

        Args:
            default: what holds where neither a field nor `policy` says anything.

        Raises:
            ValueError: a number is out of the policy's bounds, which the text names.
        """
        base = self.policy or default or Policy()
        said = {name: getattr(self, name) for name in _THRESHOLDS if name in self.model_fields_set}
        training = {**base.training.model_dump(), **self._training(base.training.lora.model_dump())}
        # what the caller of `run_complete_workflow` says decides each time, never both
        return Policy.model_validate({**base.model_dump(), **said, "training": training, "auto_deploy": False})

    def _training(self, lora: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = {"epochs": self.num_epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        if self.no_lora is not None:
            said["method"] = "full" if self.no_lora else "lora"
        if self.lora_rank is not None:
            lora = {**lora, "rank": self.lora_rank, "alpha": 2.0 * self.lora_rank}
        if self.lora_alpha is not None:
            lora = {**lora, "alpha": self.lora_alpha}
        return {**{name: value for name, value in said.items() if value is not None}, "lora": lora}
