"""`retune up`: the local stack in one terminal, until Ctrl-C."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from functions.runtime import Ports
from infra.errors import OK, REFUSED
from infra.local.baseline import MODEL_DIR
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import export_lines
from infra.local.watch import News, Watcher
from infra.models.importing import import_model
from infra.people import Person
from infra.processes import environment
from shared import keys
from shared.cas import find
from shared.clock import SystemClock

Tell = Callable[[str], None]
FIRST_MODEL_S = 60.0
LOOK_S = 1.0


def up(config: StackConfig, *, sample_errors: int, first_model: bool, tell: Tell) -> int:
    """Run a stack until Ctrl-C or SIGTERM; return the exit code.

    Args:
        config: what to start.
        sample_errors: so many wrong transcripts of synthetic calls are reported once the stack runs; 0 = none.
        first_model: bring in the shipped baseline where the bucket has no model yet.
        tell: prints a line.

    Raises:
        Unreachable: the stack did not start.
        Refused, NoAnswer: the first model could not be brought in.
    """
    with _sigterm_as_ctrl_c():
        tell(f"starting in {config.directory.absolute()}")
        try:
            with Stack(config) as stack, Watcher(stack.store, lambda line: tell(_line(line))):
                code = _until_ctrl_c(stack, sample_errors=sample_errors, first_model=first_model, tell=tell)
        except KeyboardInterrupt:  # while it starts or stops
            code = OK
        tell("stopped")
        return code


def _until_ctrl_c(stack: Stack, *, sample_errors: int, first_model: bool, tell: Tell) -> int:
    try:
        _introduce(stack, tell)
        if first_model:
            _bring_in_first_model(stack, tell)
        if sample_errors:
            _send_traffic(stack, sample_errors, tell)
        tell("ready")
        while (code := stack.functions.wait(LOOK_S)) is None:
            pass
        tell(f"the functions have ended by themselves with exit code {code}: see {stack.functions_log}")
    except KeyboardInterrupt:
        tell("stopping; a trainer that runs is ended, too")
        return OK
    return REFUSED


def _introduce(stack: Stack, tell: Tell) -> None:
    for line in export_lines(stack.env):
        tell(line)
    tell('# in another terminal:  eval "$(retune env)"  and then  retune status')
    tell(f"# the console:         {stack.console}")
    tell(f"# the functions' log:   {stack.functions_log}")
    if stack.config.traces:
        tell(f"# the traces:          retune trace --file {stack.settings.traces_file}")
    if stack.config.pubsub == "emulator":
        tell("# Google's emulator forgets messages, and numbers them from 1 each time: ask for a cycle with `retune trigger`,")
        tell("# since a bare message may have the id of one that was answered before")
    stays = "the bucket stays" if stack.config.pubsub == "emulator" else "the bucket and waiting messages stay"
    tell(f"# Ctrl-C here stops everything; {stays}")


def _bring_in_first_model(stack: Stack, tell: Tell) -> None:
    if find(stack.store, keys.PRODUCTION) is not None or find(stack.store, keys.manifest(0)) is not None:
        return
    ports = Ports(stack.store, stack.bus, SystemClock(), stack.settings)
    person = Person(by="retune up", reason="the shipped baseline", wait_s=FIRST_MODEL_S)
    import_model(ports, str(MODEL_DIR), person, make_stable=True, tell=tell)


def _send_traffic(stack: Stack, errors: int, tell: Tell) -> None:
    tell(f"synthetic calls until {errors} errors are reported")
    command = [sys.executable, "-m", "infra.local.traffic", "--errors", str(errors)]
    done = subprocess.run(command, env=environment(stack.env), stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        tell(f"the synthetic calls ended with exit code {done.returncode}; the stack runs on")


def _line(line: News) -> str:
    return f"{line.at.astimezone():%H:%M:%S} {line.text}"


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
