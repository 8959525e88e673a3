"""Several processes on one ledger: one creates it, one opens each incarnation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cdc_assets import errors
from cdc_assets.ledger.client import SqlLedger

RACE = """
import sys
from cdc_assets.errors import FenceTaken
from cdc_assets.ledger.client import SqlLedger
from cdc_assets.ports import IncarnationRow
from cdc_assets.testing.builders import identity, position_row

ledger = SqlLedger(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
won = []
for number in range(1, 11):
    row = IncarnationRow("orders", number, sys.argv[2], "stream", "h", 1, identity(), "initial", "")
    try:
        ledger.open_incarnation(row)
        won.append(number)
    except FenceTaken:
        pass
    ledger.record_positions([position_row(number), position_row(100 + number)])
print(ledger.ledger_id, *won, flush=True)
"""


def test_of_several_processes_one_creates_the_ledger_and_one_opens_each_incarnation(
    ledger_url: str,
) -> None:
    root = str(Path(errors.__file__).parents[1])
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, ledger_url, f"racer{index}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        for index in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.communicate(timeout=60)[0].split() for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert {racer.returncode for racer in racers} == {0}
    ledger = SqlLedger(ledger_url)
    assert {answer[0] for answer in answers} == {ledger.ledger_id}
    won = [int(number) for answer in answers for number in answer[1:]]
    assert sorted(won) == list(range(1, 11))
    assert [row.number for row in ledger.incarnations("orders")] == list(range(1, 11))
    for index, answer in enumerate(answers):
        mine = [row for row in ledger.incarnations("orders") if row.job_id == f"racer{index}"]
        assert [str(row.number) for row in mine] == answer[1:]
    assert len(ledger.positions("orders", limit=1000)) == 20
    ledger.close()
