"""Lake: the tables of one namespace, by a REST catalog or by a hadoop catalog's folders."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import requests

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog, IcebergTable
from cdc_assets.errors import CdcError, ConfigurationError, TargetError, TargetUnreachable

# pyiceberg and pyarrow bring no types that a strict check accepts, so their values have none
# here; what leaves this package's targets is ours.
Foreign: TypeAlias = Any
_HINT = "Install the extra: pip install 'dagster-cdc-assets[iceberg]'"
_TIMEOUTS = ("s3.connect-timeout", "s3.request-timeout")
# A writer makes one file after the other; a hint that is behind is caught up with.
_MOST_STEPS = 10_000


def imported(name: str) -> Foreign:
    """Return a module of the extra `iceberg`.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{name.partition('.')[0]} is not installed ({error.name})",
            field="target",
            hint=_HINT,
        ) from None


class Lake:
    """The tables of one namespace.

    Args:
        catalog: Which catalog holds them.
        namespace: One name; Flink's catalogs know no deeper ones.
        timeout_seconds: For one answer.
    """

    def __init__(self, catalog: IcebergCatalog, namespace: str, *, timeout_seconds: float) -> None:
        self._catalog = catalog
        self._namespace = namespace
        self._timeout = timeout_seconds
        self._rest: Foreign = None

    @property
    def place(self) -> str:
        """Return what the catalog is called in errors."""
        return f"{self._catalog.kind} catalog {self._catalog.place}"

    def has_namespace(self) -> bool:
        """Return whether the namespace exists; a hadoop catalog's is made with its first table."""
        if self._catalog.kind == "hadoop":
            return True
        with self.answering():
            return bool(self._client().namespace_exists(self._namespace))

    def table(self, name: str) -> Foreign:
        """Return a table with its newest metadata, None where there is none.

        Raises:
            TargetUnreachable: No answer in time.
            TargetError: The catalog refused, or its answer cannot be read.
        """
        with self.answering():
            if self._catalog.kind == "hadoop":
                return self._hadoop_table(name)
            missing = imported("pyiceberg.exceptions")
            try:
                return self._client().load_table((self._namespace, name))
            except (missing.NoSuchTableError, missing.NoSuchNamespaceError):
                return None

    def _client(self) -> Foreign:
        if self._rest is None:
            self._rest = _rest_catalog(self._properties(), self._timeout)
        return self._rest

    def _properties(self) -> dict[str, str]:
        found = {**dict.fromkeys(_TIMEOUTS, f"{self._timeout:g}"), **self._catalog.properties}
        if self._catalog.uri:
            found["uri"] = self._catalog.uri
        if self._catalog.warehouse:
            found["warehouse"] = self._catalog.warehouse
        return found

    def _hadoop_table(self, name: str) -> Foreign:
        folder = f"{self._catalog.warehouse.rstrip('/')}/{self._namespace}/{name}/metadata"
        io = imported("pyiceberg.io").load_file_io(self._properties(), folder)
        hint = io.new_input(f"{folder}/version-hint.text")
        if not hint.exists():
            return None
        with hint.open() as stream:
            number = int(stream.read().decode().strip())
        found = _metadata_file(io, folder, number)
        # As Iceberg's own HadoopTableOperations does: the hint is written after the file.
        for each in range(number + 1, number + _MOST_STEPS):
            newer = _metadata_file(io, folder, each)
            if newer is None:
                break
            found = newer
        if found is None:
            raise TargetError(
                f"{self.place}: table {self._namespace}.{name} has no metadata of version {number}",
                hint="See the folder 'metadata' of the table",
            )
        static = imported("pyiceberg.table").StaticTable
        return static.from_metadata(found, self._properties())

    @contextmanager
    def answering(self) -> Generator[None]:
        """Turn what the drivers raise into errors of ours, in one line and without a secret."""
        try:
            yield
        except CdcError:
            raise
        except requests.exceptions.Timeout:
            raise TargetUnreachable(
                f"{self.place}: no answer within {self._timeout:g} s",
                hint="See that it runs and is reachable",
            ) from None
        except requests.exceptions.RequestException as error:
            raise TargetUnreachable(
                f"{self.place}: {type(error).__name__}", hint="See that it runs and is reachable"
            ) from None
        except Exception as error:  # noqa: BLE001 - drivers raise what they like
            raise self._ours(error) from None

    def _ours(self, error: Exception) -> TargetError:
        kind, text = type(error).__name__, _one_line(error)
        for _, secret in self._catalog.secrets:
            text = text.replace(secret, "***") if secret else text
        if kind in {"UnauthorizedError", "ForbiddenError", "OAuthError"}:
            return TargetError(
                f"{self.place}: refused the account: {text}", hint="Correct token or credential"
            )
        if kind in {"ServiceUnavailableError", "ServerError"}:
            return TargetUnreachable(f"{self.place}: {text}", hint="See the catalog's own log")
        return TargetError(f"{self.place}: {kind}: {text}")


def described(table: Foreign, namespace: str, name: str) -> IcebergTable:
    """Return a table as its catalog describes it."""
    schema, spec = table.schema(), table.spec()
    keys = set(schema.identifier_field_ids)
    summary = _summary(table.current_snapshot())
    columns = tuple(
        Column(
            name=str(each.name),
            data_type=str(each.field_type).partition("(")[0],
            column_type=str(each.field_type),
            nullable=not each.required,
        )
        for each in schema.fields
    )
    shape = TableShape(
        database=namespace,
        name=name,
        columns=columns,
        primary_key=tuple(str(each.name) for each in schema.fields if each.field_id in keys),
        rows_estimate=int(summary.get("total-records", "0")),
    )
    partitions = tuple(
        str(schema.find_column_name(each.source_id))
        for each in spec.fields
        if str(each.transform) != "void"
    )
    return IcebergTable(shape, int(table.metadata.format_version), partitions)


def _summary(snapshot: Foreign) -> Mapping[str, str]:
    if snapshot is None or snapshot.summary is None:
        return {}
    return {str(k): str(v) for k, v in snapshot.summary.additional_properties.items()}


def summary_of(snapshot: Foreign) -> Mapping[str, str]:
    """Return what the committer of an Iceberg snapshot noted."""
    return _summary(snapshot)


def _metadata_file(io: Foreign, folder: str, number: int) -> str | None:
    for suffix in (".metadata.json", ".gz.metadata.json"):
        path = f"{folder}/v{number}{suffix}"
        if io.new_input(path).exists():
            return path
    return None


def _rest_catalog(properties: Mapping[str, str], seconds: float) -> Foreign:
    base: Foreign = imported("pyiceberg.catalog.rest").RestCatalog

    class Patient(base):
        """A REST catalog whose requests end; pyiceberg's own wait for ever."""

        def _create_session(self) -> requests.Session:
            parent: Foreign = super()
            session: Foreign = parent._create_session()  # noqa: SLF001 - its own
            request: Callable[..., requests.Response] = session.request
            session.request = functools.partial(request, timeout=seconds)
            return session

    return Patient("cdc_assets", **properties)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
