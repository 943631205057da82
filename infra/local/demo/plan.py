"""The sizes of the demo and the policy that its operator has set."""

from dataclasses import dataclass

from infra.local.baseline import TRAINING
from shared.policy import CanaryPolicy, Policy, SuitePolicy, ValidationPolicy

SUITE = "clean"


@dataclass(frozen=True)
class DemoPlan:
    """How much speech the demo makes.

    Attributes:
        callers: people who call while errors are collected; with the fresh ones 60.
        suite_callers: those of them who also speak the regression suite: the launcher keeps them out of training.
        fresh_callers: people who call for the first time when the new model serves.
        phone_share: share of the calls on the new phone line, where the shift is; the others come over the old line.
        sample_rate: share of all calls that the service publishes as a random sample.
        errors: reported errors that cross the threshold.
        calls_at_most: if so many calls do not cross it, something is broken.
        replay_clips, suite_clips: trusted clips of the old line, against forgetting and to prove that nothing was forgotten.
        fresh_calls: calls on the phone line on which old and new model are compared at the end.
        canary_percent: share of the sessions that an accepted version serves until its errors have been compared.
    """

    seed: int = 0
    callers: int = 48
    suite_callers: int = 16
    fresh_callers: int = 12
    phone_share: float = 0.8
    sample_rate: float = 0.4
    errors: int = 650
    calls_at_most: int = 2000
    replay_clips: int = 1000
    suite_clips: int = 560
    fresh_calls: int = 280
    canary_percent: int = 50

    def policy(self) -> Policy:
        """Return the policy: every rule of production, with a threshold that a demo reaches in a minute."""
        return Policy(
            min_error_cases=self.errors,
            min_corrected_cases=self.errors,
            auto_approve_finetuning=True,
            auto_deploy=True,
            validation=ValidationPolicy(suites={SUITE: SuitePolicy(margin=0.02)}),
            canary=CanaryPolicy(
                percent=self.canary_percent,
                min_utterances=100,
                session_s=4.0,
                min_duration_s=10.0,
                max_duration_s=300.0,
                guard_s=600.0,
                guard_margin=0.1,  # most calls on the new line have an error: half more would be beyond all of them
            ),
            training=TRAINING,
        )
