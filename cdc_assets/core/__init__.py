"""The pure part: values and decisions; no I/O, no clock, no Dagster."""
