"""DefinitionsFile: find the streams of a deployment in its `definitions.py`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import cast

import dagster as dg

from cdc_assets.core.stream import check_ranges_apart
from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.wiring import StreamAccess, resource_key

_MODULE = "cdc_assets_deployment"


def streams_of(path: Path) -> dict[str, StreamAccess]:
    """Return the streams that a definitions file builds, by name.

    They are found where Dagster finds them, too: among the resources of its `Definitions`.

    Args:
        path: The file, or a folder that holds `definitions.py`.

    Raises:
        ConfigurationError: The file is missing, fails, or builds no stream.
    """
    file = path / "definitions.py" if path.is_dir() else path
    found: dict[str, StreamAccess] = {}
    for resources in _resources(_module(file)):
        for key, value in resources.items():
            spec = getattr(value, "spec", None)
            if spec is not None and key == resource_key(getattr(spec, "name", "")):
                found[spec.name] = cast("StreamAccess", value)
    if not found:
        raise ConfigurationError(
            "builds no stream", file=str(file), hint="Call build_cdc_definitions in it"
        )
    check_ranges_apart(tuple(access.spec for access in found.values()))
    return found


def stream_of(path: Path, name: str) -> StreamAccess:
    """Return one stream.

    Raises:
        ConfigurationError: There is none of this name; the message lists the others.
    """
    streams = streams_of(path)
    if name not in streams:
        known = ", ".join(sorted(streams))
        raise ConfigurationError(
            "no such stream", field="STREAM", value=name, file=str(path), hint=f"There is: {known}"
        )
    return streams[name]


def _module(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigurationError(
            "no such file", file=str(file), hint="Name the file with --definitions"
        )
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        # The file imports its neighbours, as it does under `working_directory` in Dagster.
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError("is not a Python file", file=str(file))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except CdcError:
        raise
    except Exception as error:
        # A file of the user's may raise anything; which class and line is what they need.
        what = " ".join(str(error).split()) or "no message"
        raise ConfigurationError(
            f"cannot be loaded: {type(error).__name__}: {what}", file=f"{file}:{_line(error, file)}"
        ) from error
    return module


def _line(error: Exception, file: Path) -> int:
    """Return the last line of the file that the error passed through."""
    if isinstance(error, SyntaxError):
        return error.lineno or 0
    line, trace = 0, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _resources(module: ModuleType) -> Iterator[Mapping[str, object]]:
    """Return the resources of every `Definitions` in a module, also of a decorated function."""
    for value in list(vars(module).values()):
        # What `@dg.definitions` makes of a function has no public class.
        is_decorated = hasattr(value, "load_fn") and callable(value)
        defs: object = value() if is_decorated else value
        if isinstance(defs, dg.Definitions):
            yield cast("Mapping[str, object]", defs.resources or {})
