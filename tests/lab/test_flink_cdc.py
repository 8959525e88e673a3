"""Flink CDC beside the lab: one jar of many, and a class path without the connector for SQL."""

from __future__ import annotations

import zipfile
from pathlib import Path

from cdc_assets.lab.cache import Cache
from cdc_assets.lab.flink_cdc import PACKAGE_GROUP, FlinkCdc, merge, without_jar
from cdc_assets.lab.packages import load_packages


def jar(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return path


def test_jars_become_one_and_their_services_are_joined(tmp_path: Path) -> None:
    one = jar(tmp_path / "1.jar", a__A="one", META_INF="", **{"META-INF/services/f": "a.A"})
    other = jar(
        tmp_path / "2.jar",
        a__A="other",
        **{"META-INF/services/f": "b.B", "META-INF/X.SF": "signed", "module-info.class": ""},
    )
    merge([one, other], tmp_path / "all.jar")
    with zipfile.ZipFile(tmp_path / "all.jar") as archive:
        assert archive.read("a/A") == b"one"  # as on a class path, the first one counts
        assert archive.read("META-INF/services/f").split() == [b"a.A", b"b.B"]
        assert not {"META-INF/X.SF", "module-info.class"} & set(archive.namelist())


def test_the_class_path_loses_one_jar_and_nothing_else() -> None:
    command = ("java", "-Xmx1m", "-cp", "/a/flink-dist.jar:/b/sql-connector-3.5.0.jar", "x.Main")
    found = without_jar(command, "sql-connector")
    assert found == ("java", "-Xmx1m", "-cp", "/a/flink-dist.jar", "x.Main")
    assert without_jar(found, "sql-connector") == found


def test_a_home_with_the_kafka_sink_is_told_from_one_without(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    cdc = FlinkCdc(tmp_path, tmp_path, tmp_path / "java")
    assert not cdc.has_kafka
    (tmp_path / "lib" / "flink-cdc-pipeline-connector-kafka-3.5.0.jar").touch()
    assert cdc.has_kafka


def test_the_locked_packages_are_one_release_and_its_source(tmp_path: Path) -> None:
    names = {each.name for each in load_packages([PACKAGE_GROUP])}
    assert {"cdc-dist-flink-cdc-cli", "flink-cdc-pipeline-connector-mysql"} <= names
    assert len({Cache(tmp_path).folder(each) for each in load_packages([PACKAGE_GROUP])}) == len(
        names
    )
