"""Generate: from a configuration file and the MySQL server that it names to SQL files."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from cdc_assets.core.columns import TableShape
from cdc_assets.core.row_sql import text_of
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.mysql.client import describe
from cdc_assets.mysql.session import Login, Session, open_session
from cdc_assets.ports import Server
from cdc_assets.smt.config import SmtConfig, parse_config
from cdc_assets.smt.files import render_files
from cdc_assets.smt.ini import MAX_BYTES
from cdc_assets.smt.matching import Name, Shards, TargetTable, assign, plan_targets, warnings_of

MAX_TABLES = 200
_MATCH_SECONDS = 5.0
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_NAMES = (
    "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
)
# Only the owner: with a password in the configuration, it stands in these files, too.
_MODE = 0o600


@dataclass(frozen=True)
class Generated:
    """What came out.

    Attributes:
        folder: Where the files are.
        files: Their names.
        targets: The StarRocks tables, with the MySQL tables that they are filled from.
        warnings: What a person should know before using the files.
        variables: Environment variables that the files refer to as `${NAME}`.
    """

    folder: Path
    files: tuple[str, ...]
    targets: tuple[TargetTable, ...]
    warnings: tuple[str, ...]
    variables: tuple[str, ...]


def generate(
    path: Path,
    *,
    folder: Path | None = None,
    shards: Shards = "merge",
    one_job: bool = True,
    max_tables: int = MAX_TABLES,
    force: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Generated:
    """Read a configuration and its tables, and write the files; all of them or none.

    Args:
        path: The configuration file.
        folder: Where the files go, instead of `output_dir`.
        shards: What becomes of tables that differ in a number only.
        one_job: Whether a file's INSERTs are one Flink job.
        max_tables: More than these are refused.
        force: Whether files with another content are replaced.
        environment: For `env:NAME`; the process's own by default.

    Raises:
        CdcError: The configuration, the server or a table cannot be used.
    """
    config = parse_config(_content(path), file=str(path))
    with open_session(_login(config, os.environ if environment is None else environment),
                      Server(config.host, config.port)) as session:  # fmt: skip
        with _time_limit(_MATCH_SECONDS, path):
            tables = assign(config, _names(session), max_tables=max_tables)
        shapes = _shapes(session, [name for group in tables.values() for name in group])
    targets = plan_targets(config, tables, shapes, shards=shards)
    files = render_files(config, targets, one_job=one_job)
    out = folder or Path(config.output_dir)
    _write(out, files, force=force)
    secrets = [config.password, *(target.rule.sink_password for target in targets)]
    variables = {secret.variable for secret in secrets if secret.variable}
    notes = warnings_of(config, targets)
    return Generated(out, tuple(files), targets, notes, tuple(sorted(variables)))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _login(config: SmtConfig, environment: Mapping[str, str]) -> Login:
    return Login(config.user, config.password.value(environment))


def _names(session: Session) -> Sequence[Name]:
    rows = [(text_of(row[0]), text_of(row[1])) for row in session.rows(_NAMES)]
    return [name for name in rows if name[0].lower() not in _SYSTEM]


def _shapes(session: Session, names: Sequence[Name]) -> Mapping[Name, TableShape]:
    found = describe(session, [TableRef(database, name) for database, name in names])
    shapes = {(shape.database, shape.name): shape for shape in found.values()}
    for name in names:
        if name not in shapes:
            raise ConfigurationError(
                "is gone, or the account may not see its columns", field=".".join(name)
            )
    return shapes


@contextmanager
def _time_limit(seconds: float, path: Path) -> Generator[None]:
    """End patterns such as `(a+)+b`, which can take longer than anyone waits."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise ConfigurationError(
            f"a pattern takes longer than {seconds:g} s to match",
            file=str(path),
            hint="Take repetitions inside of repetitions out of it",
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _write(folder: Path, files: Mapping[str, str], *, force: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            file = folder / name
            if not force and file.exists() and file.read_text(encoding="utf-8") != content:
                raise ConfigurationError(
                    "is there with another content, maybe changed by hand",
                    file=str(file),
                    hint="Use another --out, or replace it with --force",
                )
        for name, content in files.items():
            partial = folder / f".{name}.part"
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE), "w",
                           encoding="utf-8") as handle:  # fmt: skip
                handle.write(content)
            partial.replace(folder / name)
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "holds something else"
        raise ConfigurationError(f"cannot be written: {what}", file=str(folder)) from None
