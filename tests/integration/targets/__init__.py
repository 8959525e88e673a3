"""Tests on real servers: the embedded lab, with Dagster on it."""
