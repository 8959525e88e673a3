"""The lab's home: one folder that holds a lab's state file, data and logs.

<home>/lab.json   state, mode 0600 because it holds passwords
<home>/.lock      held while the state is read and written back
<home>/.up.lock   held by the one `lab up` or `lab down` that works on this home
<home>/data       database servers
<home>/flink      configuration, checkpoints, savepoints, scratch
<home>/logs       output of every process
<home>/secrets    files that live while a server starts
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from cdc_assets.errors import ConfigurationError, LabError
from cdc_assets.lab.cache import default_cache_dir
from cdc_assets.lab.locks import file_lock
from cdc_assets.lab.state import LabState, from_json, to_json

STATE_FILE = "lab.json"
_OWN_FOLDERS = ("data", "flink", "logs", "secrets")
_LOCK_FILES = (".lock", ".up.lock")
_LOCK_SECONDS = 30.0


def resolve_home(chosen: str | Path | None) -> Path:
    """Return the home as an absolute path; without a choice, the default lab in the cache."""
    if chosen is None or not str(chosen):
        return (default_cache_dir() / "labs" / "default").resolve()
    return Path(chosen).expanduser().resolve()


def load_state(home: Path) -> LabState | None:
    """Return the state of the lab in a folder, None when there is none.

    Raises:
        LabError: The state file cannot be read.
    """
    path = home / STATE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}") from error
    return from_json(text, path=path)


def require_state(home: Path) -> LabState:
    """Return the state of the lab in a folder.

    Raises:
        LabError: There is no lab, or its state file cannot be read.
    """
    state = load_state(home)
    if state is None:
        raise LabError(f"no lab at {home}", hint="Start one with 'cdc-assets lab up'")
    return state


def save_state(state: LabState) -> None:
    """Write the state in one step; a reader sees the old one or the new one."""
    path = state.home / STATE_FILE
    new = path.with_name(f"{STATE_FILE}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(to_json(state))
    new.replace(path)


def update_state(home: Path, change: Callable[[LabState], LabState]) -> LabState:
    """Apply a change to the state that is on disk now, and write it back, under the home's lock."""
    with file_lock(home / ".lock", timeout_seconds=_LOCK_SECONDS):
        state = change(require_state(home))
        save_state(state)
    return state


def check_home(home: Path) -> None:
    """Make sure that the folder can be a lab's home; creates it if it is not there.

    Raises:
        ConfigurationError: It is not a folder, cannot be written, or holds something else.
    """
    with _as_configuration_error(home):
        home.mkdir(parents=True, exist_ok=True)
        content = _content(home)
        if content and not (home / STATE_FILE).exists():
            raise ConfigurationError(
                f"the folder holds other things, for example {content[0].name!r}",
                field="--home",
                value=str(home),
                hint="Name an empty or a new folder",
            )
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def prepare_home(home: Path) -> None:
    """Make the folder ready for a new lab: everything that an old lab left is removed.

    A new lab has nothing to do with the old one's servers, so what the stand-in or the demo
    remembered about them would be wrong.

    Raises:
        ConfigurationError: The folder cannot be a lab's home.
    """
    check_home(home)
    with _as_configuration_error(home):
        # The state file goes last: it says whose folder this is.
        for path in sorted(_content(home), key=lambda each: each.name == STATE_FILE):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        for name in _OWN_FOLDERS:
            (home / name).mkdir(mode=0o700)


def _content(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if path.name not in _LOCK_FILES)


@contextmanager
def _as_configuration_error(home: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"the folder cannot be used: {error.strerror}", field="--home", value=str(home)
        ) from error
