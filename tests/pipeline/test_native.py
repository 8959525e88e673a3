"""A pipeline file that Flink CDC runs: which files, what is handed on, what is refused."""

from __future__ import annotations

import pytest

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_patterns import TableName
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.compile import compile_stream
from cdc_assets.pipeline.config import PipelineConfig, parse_pipeline
from cdc_assets.pipeline.options import NATIVE
from tests.pipeline.files import BATCH, DEFAULT, EACH, SINK, SOURCE, TABLES, changed

KAFKA = """sink:
  type: kafka
  properties.bootstrap.servers: kafka.example:9092
"""
FILE = SOURCE + KAFKA
TRANSFORM = """
transform:
  - source-table: order_dw.user
    projection: \\*, UPPER(name) AS loud
    filter: id > 5
"""


def native(text: str) -> PipelineConfig:
    return parse_pipeline(text.encode(), file="p.yaml", has_home=True)


def compiled(text: str, tables: tuple[TableName, ...] = TABLES, *without: str) -> StreamSpec:
    return compile_stream(native(text), tables, stream="s", exclude_columns=without)


def said(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compiled(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("sink", "way"),
    [
        (KAFKA, "native"),
        (KAFKA + "  value.format: debezium-json\n", "native"),
        (KAFKA + "  value.format: CANAL-JSON\n", "native"),
        (KAFKA + "  value.format: json\n", "sql"),
        (SINK, "sql"),
    ],
)
def test_the_sink_says_which_way_a_file_runs_where_there_is_a_home(sink: str, way: str) -> None:
    found = native(SOURCE + sink)
    assert found.way == way
    notes = [note for note in found.notes if note.option == "sink.type"]
    assert bool(notes) == (way == "sql")
    if notes:
        assert "is written by Flink SQL, not by Flink CDC" in notes[0].reason
        assert notes[0].place.startswith("p.yaml:")


def test_without_a_home_change_events_are_refused_and_the_way_out_is_named() -> None:
    with pytest.raises(ConfigurationError, match="where a flink-cdc home is given"):
        parse_pipeline(FILE.encode(), file="p.yaml")


def test_what_only_flink_cdc_does_is_handed_on_as_it_stands() -> None:
    found = native(
        SOURCE + "  scan.incremental.snapshot.chunk.size: 100\n  metadata.list: op_ts\n"
        + "  schema-change.enabled: true\n  connect.timeout: 5s\n"
        + KAFKA + "  value.format: Canal-JSON\n  topic: everything\n  key.format: csv\n"
        + "  partition.strategy: all-to-zero\n  sink.custom-header: a:1\n"
        + "  properties.linger.ms: 5\n  include.schema.changes: [add.column, drop]\n"
        + TRANSFORM
        + "pipeline:\n  name: x\n  schema.change.behavior: EVOLVE\n"
        + "  user-defined-function:\n    - name: f\n      classpath: a.B\n"
    )  # fmt: skip
    assert found.native.source == {
        "scan.incremental.snapshot.chunk.size": "100",
        "metadata.list": "op_ts",
        "schema-change.enabled": "true",
    }
    assert found.native.sink == {
        "value.format": "canal-json", "topic": "everything", "key.format": "csv",
        "partition.strategy": "all-to-zero", "sink.custom-header": "a:1",
        "include.schema.changes": ("add.column", "drop"),
    }  # fmt: skip
    assert found.native.transforms == (
        {
            "source-table": "order_dw.user",
            "projection": "\\*, UPPER(name) AS loud",
            "filter": "id > 5",
        },
    )
    assert found.native.pipeline == {
        "schema.change.behavior": "evolve",
        "user-defined-function": ({"name": "f", "classpath": "a.B"},),
    }
    assert found.properties == {"linger.ms": "5"}
    assert [note.option for note in found.notes] == ["source.connect.timeout"]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        (FILE + "  value.format: avro\n", "p.yaml:13:17: sink.value.format", "must be debezium"),
        (FILE + "  sink.delivery-guarantee: exactly-once\n", "p.yaml:13:28", "no transactional id"),
        (FILE + "  topics: x\n", "p.yaml:13:11: sink.topics", "no such option"),
        (FILE + "  topic: x\n" + EACH, "p.yaml:13:10: sink.topic", "routes, too"),
        (FILE + "  properties.sasl.jaas.config: x\n", "p.yaml:13:32", "target_password"),
        (changed("server-id: 28601-28604", "debezium.snapshot.mode: never", FILE),
         "p.yaml:9:27", "sets up its readers itself"),
        (changed("server-id: 28601-28604", "scan.startup.mode: latest-offset", FILE),
         "p.yaml:9:22", "only initial"),
        (changed("server-id: 28601-28604", "scan.newly-added-table.enabled: true", FILE),
         "p.yaml:9:35", "fixed tables"),
        (FILE + "pipeline:\n  operator.uid.prefix: x\n", "p.yaml:14:24", "Take it out"),
        (FILE + "pipeline:\n  execution.runtime-mode: batch\n", "p.yaml:14:27", "only streaming"),
        (FILE + "pipeline:\n  schema.change.behavior: other\n", "p.yaml:14:27", "must be ignore"),
        (FILE + "pipeline:\n  user-defined-function: f\n", "p.yaml:14:26", "must be a list"),
        (FILE + "pipeline:\n  user-defined-function:\n    - name: f\n", "p.yaml:15:7",
         "classpath is missing"),
        (FILE + "transform: x\n", "p.yaml:13:12: transform", "must be a list"),
        (FILE + "transform:\n  - filter: x\n", "p.yaml:14:5: transform[1].source-table", "missing"),
        (FILE + "transform:\n  - source-table: a.b\n    fliter: x\n", "p.yaml:15:13", "no such"),
        (FILE + "transform:\n  - source-table: a.b\n    filter: [x]\n", "p.yaml:15:13", "a text"),
        (FILE + "transform:\n  - source-table: a.b\n", "p.yaml:14:5", "none of the captured"),
        (FILE + "  include.schema.changes: x\n", "p.yaml:13:27", "must be a list"),
    ],
)  # fmt: skip
def test_what_neither_way_can_do_is_refused_by_name_line_and_column(
    text: str, place: str, what: str
) -> None:
    message = said(text)
    assert message.startswith(place), message
    assert what in message, message


@pytest.mark.parametrize("option", sorted(NATIVE.refused))
def test_every_option_that_is_refused_says_what_to_do(option: str) -> None:
    part, _, name = option.partition(".")
    text = {
        "source": changed("  type: mysql\n", f"  type: mysql\n  {name}: x\n", FILE),
        "sink": f"{FILE}  {name}: x\n",
        "pipeline": f"{FILE}pipeline:\n  {name}: x\n",
    }[part]
    assert f"{option}: cannot be done: " in said(text)
    assert NATIVE.refused[option][1] in said(text)


def test_a_file_for_flink_cdc_becomes_a_stream_of_its_engine() -> None:
    found = compiled(SOURCE + KAFKA + BATCH)
    assert (found.engine, found.target_kind, found.uncounted) == ("flink-cdc", "kafka", "")
    assert found.target_names == ("topic_feedback", "topic_order", "topic_user")
    assert found.server_ids == ServerIdRange(28601, 28604)
    assert found.resume_form == "specific-offset"
    # The same file by SQL, with its own sink, stays what it was.
    assert compiled(DEFAULT).engine == "flink"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (TRANSFORM, "a transform"),
        ("  topic: everything\n", "share one topic"),
        ("  key.format: csv\n", "CSV"),
        ("route:\n  - source-table: order_dw.\\.*\n    sink-table: all\n", "share a topic"),
    ],
)
def test_where_no_rows_can_be_counted_the_stream_says_why(more: str, reason: str) -> None:
    assert reason in compiled(FILE + more).uncounted


def test_tables_may_share_a_topic_because_each_record_names_its_own() -> None:
    found = compiled(FILE + "  topic: everything\n")
    assert found.target_names == ("everything",)
    assert all(found.shares_target(table) for table in found.tables)


def test_a_column_cannot_be_left_out_by_name() -> None:
    with pytest.raises(ConfigurationError, match="projection"):
        compiled(FILE, TABLES, "user.name")


def test_ids_must_be_enough_for_each_subtask() -> None:
    with pytest.raises(ConfigurationError, match="holds 4 ids"):
        compiled(FILE + "pipeline:\n  parallelism: 5\n")
