"""Pipeline files of the tests: the three variants of one database into Kafka."""

from __future__ import annotations

from pathlib import Path

from cdc_assets.core.table_patterns import TableName
from cdc_assets.pipeline.config import PipelineConfig, parse_pipeline
from cdc_assets.pipeline.lock import lock_path, write_lock

TABLES: tuple[TableName, ...] = (
    ("order_dw", "feedback"),
    ("order_dw", "order"),
    ("order_dw", "user"),
)
SOURCE = """source:
  type: mysql
  name: MySQL Source
  hostname: #{hostname}
  port: 3306
  username: #{username}
  password: #{password}
  tables: order_dw.\\.*
  server-id: 28601-28604
"""
SINK = """
sink:
  type: upsert-kafka
  name: upsert-kafka Sink
  properties.bootstrap.servers: xxxx.kafka.example:9092
  # The managed service wants more.
  aliyun.kafka.accessKeyId: #{ak}
  aliyun.kafka.accessKeySecret: #{sk}
"""
EACH = """
route:
  - source-table: order_dw.user
    sink-table: user1
  - source-table: order_dw.order
    sink-table: order2
  - source-table: order_dw.feedback
    sink-table: feedback3
"""
BATCH = """
route:
  - source-table: order_dw.\\.*
    sink-table: topic_<>
    replace-symbol: <>
    description: all of them
"""
DEFAULT = SOURCE + SINK


def config(text: str) -> PipelineConfig:
    return parse_pipeline(text.encode(), file="p.yaml")


def changed(old: str, new: str, text: str = DEFAULT) -> str:
    assert old in text
    return text.replace(old, new, 1)


def written(folder: Path, text: str = DEFAULT, tables: tuple[TableName, ...] = TABLES) -> Path:
    """Write a pipeline file and, unless there are no tables, their list."""
    path = folder / "shop.yaml"
    path.write_text(text)
    if tables:
        write_lock(lock_path(path), tables)
    return path
