"""The folder of a local stack: one stack at a time, and how other processes learn to talk to it."""

import errno
import fcntl
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from infra.errors import Unreachable
from shared.whole_file import put_whole

LOCK_FILE = "lock"
ENV_FILE = "env.json"

Server = TypeVar("Server")


@contextmanager
def only_one_in(
    directory: Path,
    *,
    who: str = "a stack runs there already",
    instead: str = "end it with Ctrl-C in its terminal, or choose another folder with --dir",
) -> Iterator[None]:
    """Hold the folder's lock: the kernel lets it go with the process, however that ends.

    Args:
        directory: the folder.
        who: another holder, in words.
        instead: what to do about it.

    Raises:
        Unreachable: another process holds it.
    """
    with (directory / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise Unreachable(f"{directory}: {who} (process {lock.read().strip() or 'unknown'}): {instead}") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def written_env(directory: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Leave the variables in the folder for as long as the stack runs."""
    path = directory / ENV_FILE
    put_whole(path, f"{json.dumps(dict(variables), indent=1)}\n".encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def read_env(directory: Path) -> dict[str, str]:
    """Return the variables of the stack that runs in a folder.

    Raises:
        Unreachable: none does.
    """
    try:
        text = (directory / ENV_FILE).read_text() if _is_locked(directory / LOCK_FILE) else None
    except FileNotFoundError:
        text = None
    if text is None:
        advice = "run `retune up` in another terminal, or name the folder of the one that runs: --dir"
        raise Unreachable(f"{directory.absolute()}: expected a running stack, found none: {advice}")
    variables: dict[str, str] = json.loads(text)
    return variables


def export_lines(variables: Mapping[str, str]) -> list[str]:
    """Return the lines that a shell evaluates to talk to a stack."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _is_locked(path: Path) -> bool:
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def variables_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process, and put back what was there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def ports_are_free(make: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    """Enter and yield the server that `make` makes.

    Raises:
        Unreachable: its port is taken.
    """
    with ExitStack() as undo:
        try:
            server = undo.enter_context(make())
        except (OSError, RuntimeError) as error:  # grpc raises RuntimeError
            if isinstance(error, OSError) and error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            raise Unreachable(f"a port is taken: {error}; choose another one, or 0 for any free one") from error
        yield server
