"""Adapter: Debezium's MySQL and MariaDB connectors on a Kafka Connect worker."""
