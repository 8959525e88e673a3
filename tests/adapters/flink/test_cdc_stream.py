"""The module that a script imports, in a process of its own with a PyFlink that is made up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.flink.script_process import ScriptCommand, ScriptEnd, run_script

SOURCE = {
    "connector": "mysql-cdc",
    "hostname": "db.example",
    "password": "o'neil",
    "scan.startup.mode": "initial",
    "server-id": "5400",
}
ORDER: dict[str, Any] = {
    "format": 1,
    "stream": "users",
    "job_id": "ab" * 16,
    "settings": {"restart-strategy.type": "none", "pipeline.jars": "file:///a.jar"},
    "sources": {"mydb.users": SOURCE},
    "targets": {"users": {"connector": "jdbc", "url": "jdbc:x"}},
    "python_worker": "",
}
# As much of PyFlink as the module touches. Tables are what a script puts into `tables`.
PYFLINK = {
    "__init__.py": "",
    "version.py": "__version__ = '1.20.3'",
    "common.py": """
class Configuration(dict):
    def set_string(self, key, value):
        self[key] = value
""",
    "java_gateway.py": """
from types import SimpleNamespace as N
def get_gateway():
    of = lambda catalog, database, name: name
    catalog = N(ObjectIdentifier=N(of=of))
    return N(jvm=N(org=N(apache=N(flink=N(table=N(catalog=catalog))))))
""",
    "table.py": """
from types import SimpleNamespace as N
class EnvironmentSettings:
    def new_instance(): return EnvironmentSettings()
    def in_streaming_mode(self): return self
    def with_configuration(self, found):
        self.found = found
        return self
    def build(self): return self
class TableEnvironment:
    def create(settings):
        made = TableEnvironment()
        made.config, made.tables = dict(settings.found), {}
        made._j_tenv = N(getCatalogManager=lambda: N(
            getCurrentCatalog=lambda: "c", getCurrentDatabase=lambda: "d", getTable=made._held))
        return made
    def _held(self, name):
        table = N(getResolvedTable=lambda: N(getOptions=lambda: self.tables[name]))
        return N(isPresent=lambda: True, get=lambda: table)
    def list_tables(self): return [*self.tables]
    def list_views(self): return []
    def get_config(self): return self.config
    def _before_execute(self): pass
    def execute_sql(self, text):
        self._before_execute()
        print("ran", text)
""",
}
HEAD = "from cdc_stream import *\nt_env = stream_environment()\n"


def run(tmp_path: Path, text: str, **changes: object) -> ScriptEnd:
    package = tmp_path / "packages" / "pyflink"
    package.mkdir(parents=True)
    for name, content in PYFLINK.items():
        (package / name).write_text(content)
    script = tmp_path / "stream.py"
    script.write_text(text)
    order = json.dumps({**ORDER, **changes})
    path = {"PYTHONPATH": str(package.parent)}
    return run_script(ScriptCommand(sys.executable, script, order, path), budget_seconds=60)


def test_the_environment_has_the_settings_of_the_launch_and_is_made_once(tmp_path: Path) -> None:
    text = HEAD + "print(t_env.config, stream_environment() is t_env)\n"
    assert run(tmp_path, text).output == f"{ORDER['settings']} True\n"


def test_options_are_sql_and_quotes_stay_inside_of_them(tmp_path: Path) -> None:
    text = "from cdc_stream import *\nprint(source_options('mydb.users', {'x.y': '1'}))\n"
    lines = run(tmp_path, text).output.splitlines()
    assert lines[2] == "  'password' = 'o''neil',"
    assert lines[-1] == "  'x.y' = '1'"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("source_options('mydb.orders')", "no source 'mydb.orders'; it has mydb.users"),
        ("source_options('mydb.users', {'server-id': '1'})", "the launch sets server-id itself"),
        (
            "source_options('mydb.users', {'scan.startup.timestamp-millis': '1'})",
            "the launch sets scan.startup.timestamp-millis itself",
        ),
        ("target_options('users', {'url': 'jdbc:y'})", "the launch sets url itself"),
        ("t_env.config['restart-strategy.type'] = 'fixed-delay'", "restart-strategy.type itself"),
        ("t_env.tables['a'] = {'connector': 'mysql-cdc'}", "table 'a' does not read as this"),
        (
            f"t_env.tables['a'] = {SOURCE | {'scan.startup.mode': 'latest-offset'}}",
            "table 'a' does not read as this launch must",
        ),
        (
            f"t_env.tables['a'] = {SOURCE | {'scan.startup.specific-offset.pos': '4'}}",
            "table 'a' does not read as this launch must",
        ),
    ],
)
def test_what_the_launch_decides_cannot_be_changed(tmp_path: Path, line: str, said: str) -> None:
    end = run(tmp_path, f"{HEAD}{line}\nt_env.execute_sql('INSERT')\n")
    assert end.code == 1
    assert said in end.output.splitlines()[-1]
    assert "ran INSERT" not in end.output


def test_other_tables_jars_and_options_are_the_scripts_own(tmp_path: Path) -> None:
    text = (
        f"{HEAD}t_env.tables['a'] = {SOURCE | {'chunk-meta.group.size': '10'}}\n"
        "t_env.tables['b'] = {'connector': 'datagen'}\n"
        "t_env.config['pipeline.jars'] = 'file:///b.jar'\n"
        "t_env.execute_sql('INSERT')\n"
    )
    assert run(tmp_path, text).output == "ran INSERT\n"


def test_an_order_of_another_release_is_refused(tmp_path: Path) -> None:
    end = run(tmp_path, HEAD, format=2)
    assert end.output.splitlines()[-1].endswith("the order has the format 2, not 1")


def test_a_script_that_is_started_by_hand_says_how_it_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cdc_assets.flink.interpreter import cdc_stream  # noqa: PLC0415 - no package of ours to it

    monkeypatch.delenv("CDC_ASSETS_ORDER", raising=False)
    with pytest.raises(cdc_stream.Refused, match="by materializing its snapshot or stream"):
        cdc_stream.stream_environment()
