"""Flink: REST, SQL Gateway, checkpoints, rendered SQL."""
