"""FlinkCdcHome: the jars of a Flink CDC distribution, and one run of its command-line client.

The client reads the pipeline from its standard input. Arguments are seen by everyone on the
machine, and a file stays behind when the launcher dies. Flink's settings hold no secret; they
are a file, because the client takes them from a Flink home only.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.core.preflight import Fault
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.pipeline_order import PipelineOrder
from cdc_assets.flink.script_process import ScriptEnd, passed_on, run_child
from cdc_assets.flink.sink_kafka import CDC_SHADED, SHADED

_MAIN = "org.apache.flink.cdc.cli.CliFrontend"
_INPUT = "/dev/stdin"
_SQL_CONNECTOR = "flink-sql-connector-mysql-cdc"
_NEEDED = (
    ("flink_cdc_home", "flink-cdc-dist-*.jar", "Flink CDC itself"),
    ("flink_cdc_home", "flink-cdc-pipeline-connector-mysql-*.jar", "the source mysql"),
    ("flink_cdc_home", "flink-cdc-pipeline-connector-kafka-*.jar", "the sink kafka"),
    ("flink_home", "flink-dist*.jar", "Flink itself"),
)


@dataclass(frozen=True)
class FlinkCdcHome:
    """Where Flink CDC and the Flink of its client are.

    Attributes:
        cdc: The unpacked distribution of Flink CDC.
        flink: The Flink distribution whose classes the client uses.
        java: The program.
        jars: More jars that the job needs, such as MySQL's driver.
        budget_seconds: A run that takes longer is killed.
    """

    cdc: Path
    flink: Path
    java: str = "java"
    jars: tuple[Path, ...] = ()
    budget_seconds: float = 120.0

    @property
    def shaded_as(self) -> str:
        """Return what the sink's jar puts before the names of Kafka's classes, if it does."""
        jars = self._found("flink_cdc_home", _NEEDED[2][1])
        return next(
            (
                prefix
                for prefix in (SHADED, CDC_SHADED)
                if any(_holds(jar, f"{prefix}org.apache.kafka.".replace(".", "/")) for jar in jars)
            ),
            "",
        )

    def faults(self, cluster: Sequence[str]) -> Iterator[Fault]:
        """Yield what keeps a pipeline from being submitted.

        Args:
            cluster: The class path of the cluster's job manager, empty when it is not known.
        """
        for name, pattern, what in _NEEDED:
            if not self._found(name, pattern):
                home = self.cdc if name == "flink_cdc_home" else self.flink
                yield Fault(
                    f"flink.{name}", f"no {pattern} in {home / 'lib'}", what,
                    f"Name an unpacked distribution; put {pattern} into its folder lib",
                )  # fmt: skip
        if not any(self._found(name, "mysql-connector-*.jar") for name, _, _ in _NEEDED):
            yield Fault(
                "flink.flink_cdc_home", "no mysql-connector-*.jar", "MySQL's driver",
                f"Put it into {self.cdc / 'lib'}",
            )  # fmt: skip
        for jar in self.jars:
            if not jar.is_file():
                yield Fault("flink.jars", f"no file {jar}", "a jar", "Correct the path")
        if shutil.which(self.java) is None:
            yield Fault(
                "flink.java", f"{self.java} cannot be started", "Java 11 or 17", "Correct the path"
            )
        own = [str(jar) for name in ("flink_cdc_home", "flink_home")
               for jar in self._found(name, f"{_SQL_CONNECTOR}*.jar")]  # fmt: skip
        for place, jars in (("flink_home", own), ("cluster", cluster)):
            clash = [jar for jar in jars if _SQL_CONNECTOR in jar]
            if clash:
                yield Fault(
                    f"flink.{place}",
                    f"{Path(clash[0]).name} is on the class path",
                    "a class path without it: Flink CDC's classes would be taken from it, and the "
                    "job fails",
                    f"Take {clash[0]} out; streams by SQL need a cluster of their own",
                )

    def submit(self, order: PipelineOrder) -> ScriptEnd:
        """Run Flink CDC's client and wait for its end; nothing that it started outlives the call.

        Raises:
            ConfigurationError: Java cannot be started.
        """
        with tempfile.TemporaryDirectory(prefix="cdc-pipeline-") as folder:
            conf = Path(folder) / "conf"
            conf.mkdir()
            (conf / "config.yaml").write_text(order.settings_text, encoding="utf-8")
            # Not `FLINK_CDC_HOME`: its `flink-cdc.yaml` would add settings that nobody looked at.
            environment = {**passed_on(), "FLINK_CONF_DIR": str(conf)}
            class_path = f"{self.flink / 'lib'}/*:{self.cdc / 'lib'}/*"
            command = [self.java, "-cp", class_path, _MAIN, _INPUT, "--flink-home", folder]
            command += [part for jar in self.jars for part in ("--jar", str(jar))]
            try:
                return run_child(
                    command,
                    order.definition_text,
                    environment,
                    folder=folder,
                    budget_seconds=self.budget_seconds,
                )
            except OSError as error:
                raise ConfigurationError(
                    f"cannot be started: {error.strerror}", field="java", value=self.java,
                    hint="Name the program of a Java 11 or 17",
                ) from None  # fmt: skip

    def _found(self, name: str, pattern: str) -> list[Path]:
        home = self.cdc if name == "flink_cdc_home" else self.flink
        return sorted((home / "lib").glob(pattern))


def _holds(jar: Path, prefix: str) -> bool:
    try:
        with zipfile.ZipFile(jar) as archive:
            return any(name.startswith(prefix) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False  # A preflight and the submission say what is wrong with it.
