"""The command line: exit codes, one-line errors, and what each command says."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cdc_assets.cli import cli
from cdc_assets.core.preflight import Fault
from cdc_assets.errors import EngineUnreachable, SavepointFailed
from tests.surface.stage import Stage

Run = Callable[..., Result]
DEPLOYMENT = """
import dagster as dg
import cli_stage

defs = dg.Definitions(resources={"cdc_orders": cli_stage.access})
"""


@pytest.fixture
def run(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    module = types.ModuleType("cli_stage")
    module.__dict__["access"] = stage.access
    monkeypatch.setitem(sys.modules, "cli_stage", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "definitions.py"
    file.write_text(DEPLOYMENT)

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, ["--definitions", str(file), *args])

    return invoke


def error_of(result: Result, code: int) -> str:
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in result.output
    return line


def test_streams_are_listed(run: Run) -> None:
    result = run("streams")
    assert result.exit_code == 0
    assert "orders" in result.stdout
    assert "5400-5499" in result.stdout


def test_explain_says_what_is_and_that_nothing_is_to_be_done(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    result = run("explain", "orders")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "stream orders: Hold: running"
    assert "nothing" in result.stdout


def test_explain_lists_the_steps_and_does_none(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    coordinates = stage.lab.switch_over()
    before = len(stage.lab.ledger.steps("orders"))
    result = run("explain", "orders")
    assert "Relaunch" in result.stdout
    assert f"start at {coordinates}" in result.stdout
    assert len(stage.lab.ledger.steps("orders")) == before
    assert stage.lab.ledger.decisions("orders") == ()
    assert len(stage.lab.ledger.incarnations("orders")) == 2


def test_explain_of_an_open_recovery_says_where_it_goes_on(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    stage.lab.engine.fail_next("launch")
    assert not stage.recover().success
    said = run("explain", "orders").stdout
    assert "recovery orders:2 goes on after its step 'drained'" in said
    assert "launch the next incarnation" not in said


def test_explain_answers_programs(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    said = json.loads(run("explain", "orders", "--json").stdout)
    assert said["decision"] == "Hold"
    assert said["healthy"] is True


def test_explain_of_a_stream_that_was_never_launched(run: Run) -> None:
    assert "not deployed" in run("explain", "orders").stdout


def test_positions_print_the_ledger(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    assert stage.recover().success
    shown = run("positions", "orders").stdout
    assert "mysql-bin-changelog.000001" in shown
    assert "drained" in shown
    assert "InSync" in shown


def test_positions_answer_programs(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    said = json.loads(run("positions", "orders", "--json").stdout)
    assert [row["number"] for row in said["incarnations"]] == [1, 2]
    assert said["positions"][0]["position"]
    assert said["intent"]["intent"] == "run"


def test_hold_and_release_are_recorded_with_their_reason(run: Run, stage: Stage) -> None:
    assert run("hold", "orders", "--reason", "maintenance").exit_code == 0
    assert stage.lab.ledger.intent("orders") == ("hold", "maintenance")
    assert run("release", "orders").exit_code == 0
    assert stage.lab.ledger.intent("orders")[0] == "run"


def test_stop_only_says_what_it_would_do(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    result = run("stop", "orders")
    assert result.exit_code == 0
    assert "--execute" in result.stdout
    assert len(stage.lab.engine.live) == 1


def test_stop_with_execute_leaves_a_savepoint_and_no_work_for_the_sensor(
    run: Run, stage: Stage
) -> None:
    stage.deploy(1)
    result = run("stop", "orders", "--execute")
    assert result.exit_code == 0
    assert "file:///savepoints/" in result.stdout
    assert stage.lab.engine.live == ()
    assert stage.lab.ledger.intent("orders")[0] == "run"
    tick = stage.tick("health")
    assert tick.run_requests == []
    assert "stopped on purpose" in tick.skip_message


def test_a_stream_that_was_stopped_starts_again_from_its_savepoint(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    run("stop", "orders", "--execute")
    stage.lab.insert(2)
    assert stage.materialize("stream").success
    stage.tick("health")
    assert stage.lab.target.lost(stage.lab.blue, stage.lab.spec) == []


def test_a_stop_that_fails_gives_automation_back(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.engine.fail_next("stop", error=SavepointFailed("no space left"))
    assert "no space left" in error_of(run("stop", "orders", "--execute"), 1)
    assert stage.lab.ledger.intent("orders")[0] == "run"


def test_what_does_not_run_cannot_be_stopped(run: Run) -> None:
    assert "does not run" in error_of(run("stop", "orders", "--execute"), 2)


def test_preflight_prints_each_fault_with_what_mends_it(run: Run, stage: Stage) -> None:
    stage.access.findings = [
        Fault("source.binlog_format", "STATEMENT", "ROW", "SET GLOBAL binlog_format = 'ROW'"),
        Fault("source.retention", "1 h", "24 h", "", "warning"),
    ]
    result = run("preflight", "orders")
    assert "    SET GLOBAL binlog_format = 'ROW'" in result.stdout
    assert "warning: source.retention: found 1 h" in result.stdout
    assert "1 of the above" in error_of(result, 2)


def test_preflight_of_a_ready_stream_exits_with_0(run: Run, stage: Stage) -> None:
    stage.access.findings = [Fault("source.retention", "1 h", "24 h", "", "warning")]
    assert run("preflight", "orders").exit_code == 0


def test_an_unknown_stream_is_named_with_the_known_ones(run: Run) -> None:
    said = error_of(run("explain", "shop"), 2)
    assert "'shop'" in said
    assert "There is: orders" in said


def test_a_system_that_does_not_answer_exits_with_2_and_starts_nothing(
    run: Run, stage: Stage
) -> None:
    stage.access.problem = EngineUnreachable("Flink does not answer")
    assert "Flink does not answer" in error_of(run("explain", "orders"), 2)


def test_a_missing_definitions_file_is_named() -> None:
    result = CliRunner().invoke(cli, ["--definitions", "nowhere/definitions.py", "streams"])
    assert "nowhere/definitions.py: no such file" in error_of(result, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import dagster as dg\nboom = 1 / 0\n",
            "definitions.py:2: cannot be loaded: ZeroDivision",
        ),
        ("def f(:\n", "definitions.py:1: cannot be loaded: SyntaxError"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("import dagster as dg\ndefs = dg.Definitions()\n", "builds no stream"),
    ],
)
def test_a_definitions_file_that_does_not_load_is_named_with_its_line(
    text: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "definitions.py"
    file.write_text(text)
    result = CliRunner().invoke(cli, ["--definitions", str(file), "streams"])
    assert said in error_of(result, 2)


def test_an_error_of_the_package_in_the_definitions_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "definitions.py"
    file.write_text("from cdc_assets import ServerIdRange\nServerIdRange.parse('many')\n")
    result = CliRunner().invoke(cli, ["--definitions", str(tmp_path), "streams"])
    assert "server_ids: write it as 5400-5499 (got 'many')" in error_of(result, 2)


def test_a_definitions_file_may_use_the_decorator(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del monkeypatch
    file = tmp_path / "definitions.py"
    file.write_text(
        "import dagster as dg\nimport cli_stage\n\n@dg.definitions\ndef defs():\n"
        "    return dg.Definitions(resources={'cdc_orders': cli_stage.access})\n"
    )
    assert run("streams").exit_code == 0


def test_help_names_the_lab_without_importing_it() -> None:
    for name in [name for name in sys.modules if name.startswith("cdc_assets.lab")]:
        sys.modules.pop(name)
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    assert {"lab", "demo", "kills", "switchovers"} <= set(result.stdout.split())
    assert not any(name.startswith("cdc_assets.lab") for name in sys.modules)


def test_the_lab_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cdc_assets.lab.commands", None)
    said = error_of(CliRunner().invoke(cli, ["lab", "status"]), 2)
    assert "dagster-cdc-assets[lab]" in said


def test_schema_says_what_changed_and_does_nothing(run: Run, stage: Stage) -> None:
    stage.deploy(1)
    assert "as incarnation 2 found them" in run("schema", "orders").stdout
    old = stage.lab.source.defined["shop.orders"]
    stage.lab.source.define(replace(old, columns=old.columns[:1]))
    said = run("schema", "orders").stdout
    assert said.splitlines() == [
        "error: shop.orders.item: column dropped, it was text NULL",
        "    ALTER TABLE `warehouse`.`orders` DROP COLUMN `item`;",
    ]
    assert len(stage.lab.engine.live) == 1
    assert stage.lab.ledger.intent("orders") == ("run", "")


def test_schema_of_a_stream_that_was_never_launched(run: Run) -> None:
    assert "not deployed" in error_of(run("schema", "orders"), 2)
