"""What a PyFlink script imports to become a stream: its environment, its sources, its targets.

Standard library only, Python 3.8 or newer: it runs in the interpreter that has PyFlink, which
has neither Dagster nor the rest of this package. The launcher puts this file's folder on the
path and writes the order, one JSON object, on the script's standard input.

    from cdc_stream import source_options, stream_environment, target_options

    t_env = stream_environment()
    t_env.execute_sql(f"CREATE TABLE a (...) WITH ({source_options('shop.users')})")
    t_env.execute_sql(f"CREATE TABLE b (...) WITH ({target_options('users')})")
    t_env.execute_sql("INSERT INTO b SELECT * FROM a")
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Refused", "source_options", "stream_environment", "target_options"]

_FORMAT = 1
_VARIABLE = "CDC_ASSETS_ORDER"
_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
_JARS = "pipeline.jars"  # may get more of them
_STARTUP = "scan.startup."
_SOURCE = "mysql-cdc"
_kept: dict[str, Any] = {}


class Refused(Exception):
    """The script asks for something that its launch does not allow."""


def stream_environment() -> Any:  # noqa: ANN401 - PyFlink is not there where types are checked
    """Return the `TableEnvironment` of this launch; its INSERT becomes the stream's job.

    Cluster, job id, checkpoints and the state to go on from are set. One INSERT, or one
    statement set, is the whole job: Flink takes no second one under its id.

    Raises:
        Refused: The script was not started by the launcher.
    """
    order = _order()
    if "environment" in _kept:
        return _kept["environment"]
    started = time.monotonic()
    table = importlib.import_module("pyflink.table")
    common = importlib.import_module("pyflink.common")
    settings = {**order["settings"], **_python_settings(order)}
    configuration = common.Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    chosen = table.EnvironmentSettings.new_instance().in_streaming_mode()
    made = table.TableEnvironment.create(chosen.with_configuration(configuration).build())
    _guard(made, order, settings)
    _kept["environment"] = made
    _tell(order, seconds=time.monotonic() - started)
    return made


def source_options(table: str, more: Mapping[str, str] | None = None) -> str:
    """Return what stands in the WITH of a source: connector, server, account, ids and start.

    Args:
        table: `database.table` of a captured table, as the stream names it.
        more: Other options of the connector.

    Raises:
        Refused: It is no table of the stream, or an option is the launch's own.
    """
    return _options("source", _order()["sources"], table, more)


def target_options(name: str, more: Mapping[str, str] | None = None) -> str:
    """Return what stands in the WITH of a target: connector, server, account and table.

    Args:
        name: Name of a target table, as the stream names it.
        more: Other options of the connector.

    Raises:
        Refused: It is no target of the stream, or an option is the launch's own.
    """
    return _options("target", _order()["targets"], name, more)


def _options(
    kind: str, known: Mapping[str, Mapping[str, str]], name: str, more: Mapping[str, str] | None
) -> str:
    if name not in known:
        raise Refused(f"the stream has no {kind} {name!r}; it has {', '.join(sorted(known))}")
    own = known[name]
    taken = [key for key in more or {} if key in own or _is_of_launch(key)]
    if taken:
        raise Refused(f"{kind} {name!r}: the launch sets {', '.join(sorted(taken))} itself")
    return ",\n".join(f"  {_quoted(k)} = {_quoted(v)}" for k, v in {**own, **(more or {})}.items())


def _quoted(text: str) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _is_of_launch(key: str) -> bool:
    return key.startswith(_STARTUP)


def _order() -> Mapping[str, Any]:
    """Return what the launcher wrote on the standard input; it is read once."""
    if "order" not in _kept:
        if os.environ.get(_VARIABLE) != "stdin":
            raise Refused(
                "a script of a stream is started by materializing its snapshot or stream, "
                "not by hand"
            )
        found = json.load(sys.stdin)
        if found.get("format") != _FORMAT:
            raise Refused(f"the order has the format {found.get('format')!r}, not {_FORMAT}")
        _kept["order"] = found
    order: Mapping[str, Any] = _kept["order"]
    return order


def _python_settings(order: Mapping[str, Any]) -> Mapping[str, str]:
    """Return what Python functions need: their worker's classes, and interpreters at both ends."""
    worker = order["python_worker"]
    if not worker:
        return {}
    home = importlib.import_module("pyflink.find_flink_home")._find_flink_home()  # noqa: SLF001 - PyFlink's own way to its jars
    folder = Path(os.environ.get("FLINK_OPT_DIR", f"{home}/opt"))
    found = sorted(folder.glob("flink-python-*.jar"))
    if not found:
        raise Refused(f"no flink-python jar in {folder}, so Python functions cannot run")
    jars = [order["settings"].get(_JARS, ""), found[0].as_uri()]
    return {
        _JARS: ";".join(jar for jar in jars if jar),
        "python.executable": worker,
        "python.client.executable": sys.executable,
    }


def _guard(
    environment: Any,  # noqa: ANN401 - as above
    order: Mapping[str, Any],
    settings: Mapping[str, str],
) -> None:
    """Look at settings and sources before each statement: PyFlink calls this method there."""
    prepare = environment._before_execute  # noqa: SLF001 - PyFlink has no public place for it

    def guarded() -> None:
        _refuse_other_settings(environment, settings)
        _refuse_other_sources(environment, order["sources"])
        prepare()

    environment._before_execute = guarded  # noqa: SLF001 - as above


def _refuse_other_settings(environment: Any, settings: Mapping[str, str]) -> None:  # noqa: ANN401 - as above
    config = environment.get_config()
    for key, value in settings.items():
        if key != _JARS and config.get(key, "") != value:
            raise Refused(f"the launch sets {key} itself, leave it as it is")


def _refuse_other_sources(
    environment: Any,  # noqa: ANN401 - as above
    allowed: Mapping[str, Mapping[str, str]],
) -> None:
    for name, options in _tables(environment):
        if options.get("connector") == _SOURCE and not any(
            _is_launched_as(options, each) for each in allowed.values()
        ):
            raise Refused(
                f"table {name!r} does not read as this launch must; write "
                "WITH ({source_options('database.table')}) and leave its options as they are"
            )


def _is_launched_as(options: Mapping[str, str], ordered: Mapping[str, str]) -> bool:
    own = {key: value for key, value in options.items() if key in ordered or _is_of_launch(key)}
    return own == dict(ordered)


def _tables(environment: Any) -> list[tuple[str, dict[str, str]]]:  # noqa: ANN401 - as above
    """Return name and options of every table of the current database, temporary ones too."""
    found: list[tuple[str, dict[str, str]]] = []
    manager = environment._j_tenv.getCatalogManager()  # noqa: SLF001 - options have no public way
    catalog, database = manager.getCurrentCatalog(), manager.getCurrentDatabase()
    java = importlib.import_module("pyflink.java_gateway").get_gateway().jvm
    identifier = java.org.apache.flink.table.catalog.ObjectIdentifier
    views = set(environment.list_views())
    for name in environment.list_tables():
        held = manager.getTable(identifier.of(catalog, database, name))
        if name not in views and held.isPresent():
            found.append((name, dict(held.get().getResolvedTable().getOptions())))
    return found


def _tell(order: Mapping[str, Any], *, seconds: float) -> None:
    """Tell Dagster, where it is listening, what runs here; never anything of the account."""
    version = importlib.import_module("pyflink.version").__version__
    said = {
        "job_id": order["job_id"],
        "pyflink": version,
        "python": platform.python_version(),
        "environment_seconds": round(seconds, 1),
    }
    if _PIPES_VARIABLE not in os.environ:
        return
    pipes = importlib.import_module("dagster_pipes").open_dagster_pipes()
    atexit.register(pipes.close)
    pipes.report_custom_message(said)
    pipes.log.info("PyFlink %s submits job %s", version, order["job_id"])
