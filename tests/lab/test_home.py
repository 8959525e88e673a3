"""A lab's home belongs to the lab alone, and its state file survives a crash."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cdc_assets.errors import ConfigurationError, LabError
from cdc_assets.lab.home import (
    check_home,
    load_state,
    prepare_home,
    require_state,
    save_state,
    update_state,
)
from cdc_assets.lab.processes import ProcessRecord
from cdc_assets.lab.state import LabState


def test_a_state_comes_back_as_it_was_saved(lab_state: LabState) -> None:
    state = lab_state.with_process("blue", ProcessRecord(pid=7, started=1234.5))
    save_state(state)
    assert load_state(state.home) == state


def test_the_state_file_is_for_its_owner_only(lab_state: LabState) -> None:
    save_state(lab_state)
    mode = (lab_state.home / "lab.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_no_password_shows_in_the_text_of_a_state(lab_state: LabState) -> None:
    assert "secret-of" not in repr(lab_state)


def test_no_password_is_in_a_command_line_or_an_environment(lab_state: LabState) -> None:
    for service in lab_state.services.values():
        assert "secret-of" not in " ".join([*service.command, *service.env.values()])


def test_a_folder_without_a_lab_has_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    with pytest.raises(LabError, match="no lab at"):
        require_state(tmp_path)


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}", '{"format": 3}', '{"format": 99}'])
def test_an_unreadable_state_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(LabError, match=r"lab\.json") as caught:
        load_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_state_of_another_format_is_refused(lab_state: LabState) -> None:
    save_state(lab_state)
    path = lab_state.home / "lab.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": 3}))
    with pytest.raises(LabError, match="format 3 is not 2"):
        load_state(lab_state.home)


def test_an_update_starts_from_what_is_on_disk(lab_state: LabState) -> None:
    save_state(lab_state)
    update_state(lab_state.home, lambda state: state.with_phase("down"))
    record = ProcessRecord(pid=8, started=1.0)
    result = update_state(lab_state.home, lambda state: state.with_process("green", record))
    assert result.phase == "down"
    assert result.service("green").process == record
    assert load_state(lab_state.home) == result


def test_an_unknown_service_is_an_error_that_lists_the_known_ones(lab_state: LabState) -> None:
    with pytest.raises(LabError, match=r"no service 'purple'.*blue, green, target"):
        lab_state.service("purple")


def test_a_new_home_is_made(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    prepare_home(home)
    assert (home / "data").is_dir()


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    for refuse in (check_home, prepare_home):
        with pytest.raises(ConfigurationError, match=r"--home.*thesis\.txt"):
            refuse(tmp_path)
    assert precious.read_text() == "years of work"


def test_a_file_is_no_home(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="--home"):
        check_home(file)


def test_a_new_lab_finds_nothing_of_the_old_one(lab_state: LabState) -> None:
    home = lab_state.home
    save_state(lab_state)
    (home / "data" / "blue").mkdir(parents=True)
    (home / "rds_state.json").touch()
    prepare_home(home)
    assert sorted(path.name for path in home.iterdir()) == ["data", "flink", "logs", "secrets"]
    assert list((home / "data").iterdir()) == []
