"""The launcher of trainers that work in this very process: what the launcher starts waits here until the coordinator lets it work."""

from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun


class WaitingTrainers:
    """`TrainerLauncher` whose trainers have the coordinator's own process to work in."""

    def __init__(self) -> None:
        self._runs: dict[str, TrainerRun] = {}

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Note a run; see `TrainerLauncher.start`."""
        self._runs.setdefault(run.name, run)
        return Started("this process")

    def delete(self, name: str) -> None:
        """Forget a run; see `TrainerLauncher.delete`."""
        self._runs.pop(name, None)

    def list_names(self) -> list[str]:
        """Return the runs that wait or work; see `TrainerLauncher.list_names`."""
        return sorted(self._runs)

    def waiting(self) -> TrainerRun | None:
        """Return the next run that wants to work."""
        return next(iter(self._runs.values()), None)
