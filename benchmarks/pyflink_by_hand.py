"""A PyFlink script as one writes it by hand; statements and settings come on standard input."""

from __future__ import annotations

import json
import sys

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment

order = json.load(sys.stdin)
configuration = Configuration()
for key, value in order["settings"].items():
    configuration.set_string(key, value)
chosen = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration)
t_env = TableEnvironment.create(chosen.build())
for statement in order["statements"]:
    t_env.execute_sql(statement)
