"""A script inside of a Dagster run talks to the run; outside of one it just runs."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` as a class.

import sys
from pathlib import Path

import dagster as dg

from cdc_assets.flink.script_process import ScriptCommand, ScriptEnd
from cdc_assets.pipes import in_run, run_with_pipes

SECRET = "geheim-word"
SCRIPT = f"""
import json, os, sys
from dagster_pipes import open_dagster_pipes
assert json.load(sys.stdin) == {SECRET!r}
if "DAGSTER_PIPES_CONTEXT" in os.environ:
    with open_dagster_pipes() as pipes:
        pipes.log.info("said by the script")
        pipes.report_custom_message({{"job_id": "abc"}})
print([name for name, value in os.environ.items() if {SECRET!r} in value])
"""


def command(folder: Path) -> ScriptCommand:
    script = folder / "stream.py"
    script.write_text(SCRIPT)
    return ScriptCommand(sys.executable, script, f'"{SECRET}"')


def test_log_and_report_of_a_script_are_in_the_runs_log(tmp_path: Path) -> None:
    ends: list[ScriptEnd] = []

    @dg.asset
    def stream(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with in_run(context):
            ends.append(run_with_pipes(command(tmp_path), budget_seconds=60))
        return dg.MaterializeResult()

    with dg.instance_for_test() as instance:
        result = dg.materialize([stream], instance=instance)
        records = instance.get_records_for_run(result.run_id).records
    log = "\n".join(str(record.event_log_entry) for record in records)
    assert "said by the script" in log
    assert "'job_id': 'abc'" in log
    assert SECRET not in log
    assert [(end.code, end.output) for end in ends] == [(0, "[]\n")]


def test_without_a_run_a_script_just_runs(tmp_path: Path) -> None:
    end = run_with_pipes(command(tmp_path), budget_seconds=60)
    assert (end.code, end.output) == (0, "[]\n")
