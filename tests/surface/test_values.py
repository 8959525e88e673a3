"""Metadata, cursors, deadlines, environment and heartbeat: the small values of the surface."""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.cursors import EventCursor, HealthCursor
from cdc_assets.deadline import DeadlinePassed, within
from cdc_assets.environment import resolved, with_values
from cdc_assets.errors import ConfigurationError, UnreadablePosition
from cdc_assets.flink.resource import FlinkResource
from cdc_assets.heartbeat import heartbeat, last_sign
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.metadata import CdcMetadata
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.operations.observe import Memory
from cdc_assets.rds.resource import RdsResource
from cdc_assets.targets.resource import MySqlTargetResource

TEXT = st.text(min_size=1, max_size=20)
MOMENTS = st.datetimes(timezones=st.just(timezone.utc))
FIELDS = {field.name: str(field.type) for field in dataclasses.fields(CdcMetadata)}


@given(st.fixed_dictionaries({}, optional={
    name: st.integers(-(2**31), 2**31) if kind.startswith("int") else TEXT
    for name, kind in FIELDS.items()
}))  # fmt: skip
def test_metadata_reads_back_what_it_wrote(values: dict[str, Any]) -> None:
    said = CdcMetadata(**values)
    assert CdcMetadata.from_metadata(said.to_metadata()) == said


def test_absent_metadata_is_no_key_and_foreign_keys_are_left_alone() -> None:
    assert CdcMetadata(position="").to_metadata() == {}
    foreign = {"dagster/row_count": dg.MetadataValue.int(3), "cdc/query": dg.MetadataValue.md("x")}
    assert CdcMetadata.from_metadata(foreign) == CdcMetadata()


@given(
    st.builds(
        HealthCursor,
        memory=st.builds(
            Memory,
            job_id=TEXT,
            unread_since=st.none() | MOMENTS,
            position=TEXT,
            position_since=st.none() | MOMENTS,
            end=TEXT,
        ),
        reported=TEXT,
        incarnation=st.integers(0, 10**6),
        reported_at=st.none() | MOMENTS,
        checkpoint_path=TEXT,
    )
)
def test_a_health_cursor_reads_back_what_it_wrote(cursor: HealthCursor) -> None:
    assert HealthCursor.load(cursor.dump(), stream="shop") == cursor


@given(st.builds(EventCursor, deployment=TEXT, status=TEXT, seen_until=st.none() | MOMENTS))
def test_an_event_cursor_reads_back_what_it_wrote(cursor: EventCursor) -> None:
    assert EventCursor.load(cursor.dump(), stream="shop") == cursor


@pytest.mark.parametrize("damage", ["]", "null", "3", '{"version": 2}', '{"version": 1}', "{}"])
def test_a_damaged_cursor_is_refused_and_the_stream_named(damage: str) -> None:
    for kind in (HealthCursor, EventCursor):
        with pytest.raises(UnreadablePosition, match="stream 'shop'"):
            kind.load(damage, stream="shop")


@pytest.mark.parametrize(
    ("field", "value"),
    [("incarnation", "3"), ("reported_at", "yesterday"), ("reported_at", "2026-01-01T00:00:00")],
)
def test_a_cursor_with_a_value_of_another_kind_is_refused(field: str, value: str) -> None:
    values = json.loads(HealthCursor().dump()) | {field: value}
    with pytest.raises(UnreadablePosition):
        HealthCursor.load(json.dumps(values), stream="shop")


def test_the_first_tick_has_no_cursor() -> None:
    assert HealthCursor.load(None, stream="shop") == HealthCursor()
    assert EventCursor.load("", stream="shop") == EventCursor()


def test_within_gives_up_on_a_call_that_does_not_return() -> None:
    release = threading.Event()
    with pytest.raises(DeadlinePassed, match="no answer within"):
        within(0.01, release.wait)
    release.set()


def test_within_raises_what_the_call_raises() -> None:
    def fail() -> None:
        message = "wrong"
        raise ConfigurationError(message)

    with pytest.raises(ConfigurationError, match="wrong"):
        within(5, fail)


def test_variables_become_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PORT", "3307")
    monkeypatch.setenv("DB_PASSWORD", "secret")
    found = resolved(
        MySqlResource(
            host="db",
            port=dg.EnvVar.int("DB_PORT"),
            username="cdc",
            password=dg.EnvVar("DB_PASSWORD"),
        )
    )
    assert (found.host, found.port, found.password) == ("db", 3307, "secret")


def test_every_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_HOST", raising=False)
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    resource = MySqlResource(
        host=dg.EnvVar("DB_HOST"), username="cdc", password=dg.EnvVar("DB_PASSWORD")
    )
    with pytest.raises(ConfigurationError, match="DB_HOST, DB_PASSWORD are not set"):
        resolved(resource)


def test_an_optional_setting_whose_variable_is_unset_is_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ENDPOINT", raising=False)
    resource = RdsResource(instance="db", region="eu", endpoint_url=dg.EnvVar("ENDPOINT"))
    assert resolved(resource).endpoint_url is None


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PORT", "http")
    resource = MySqlResource(
        host="db", port=dg.EnvVar.int("DB_PORT"), username="cdc", password="secret"
    )
    with pytest.raises(ConfigurationError, match=r"DB_PORT: is not a whole number \(got 'http'\)"):
        resolved(resource)


def test_a_value_out_of_range_is_named_without_the_secrets_beside_it() -> None:
    resource = MySqlResource(host="db", username="cdc", password="secret")
    with pytest.raises(ConfigurationError, match=r"MySqlResource\.read_timeout_seconds") as caught:
        with_values(resource, read_timeout_seconds=-1.0)
    assert "secret" not in str(caught.value)


RESOURCES = [FlinkResource, LedgerResource, MySqlResource, MySqlTargetResource, RdsResource]


@pytest.mark.parametrize("kind", RESOURCES)
def test_every_setting_has_a_description_and_every_secret_is_kept_out_of_repr(
    kind: type[dg.ConfigurableResource[Any]],
) -> None:
    for name, field in kind.model_fields.items():
        assert field.description, name
        if name in {"password", "url"}:
            assert field.repr is False


def test_a_run_gives_signs_of_life_until_it_ends() -> None:
    told: list[str] = []
    twice = threading.Event()

    class Log:
        def debug(self, msg: str) -> None:
            told.append(msg)
            if len(told) == 2:
                twice.set()
            if len(told) == 1:
                message = "database is locked"
                raise OSError(message)

    with heartbeat(Log(), every_seconds=0.001):
        assert twice.wait(30)
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_the_last_sign_of_a_run_is_when_it_last_wrote(instance: dg.DagsterInstance) -> None:
    @dg.op
    def speak(context) -> None:  # noqa: ANN001 - Dagster compares it as a class
        context.log.debug("at work")

    job = dg.GraphDefinition(name="job", node_defs=[speak]).to_job()
    before = datetime.now(timezone.utc)
    run_id = job.execute_in_process(instance=instance).run_id
    seen = last_sign(instance, run_id)
    assert seen is not None
    assert seen >= before
    assert last_sign(instance, "no-such-run") is None
