"""Kafka as the target."""

from __future__ import annotations

import dagster as dg

from cdc_assets import KafkaTargetResource

target = KafkaTargetResource(
    bootstrap_servers=dg.EnvVar("CDC_TARGET_BOOTSTRAP_SERVERS"),
    security_protocol="SASL_PLAINTEXT",
    username=dg.EnvVar("CDC_TARGET_USER"),
    password=dg.EnvVar("CDC_TARGET_PASSWORD"),
    topic_prefix=dg.EnvVar("CDC_TARGET_TOPIC_PREFIX"),
    create_topics=True,
)
