"""KafkaClient: librdkafka with a limit for every call, its errors in our words, its log silent."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable

T = TypeVar("T")

# Key and value; None is a tombstone.
Record = tuple[bytes, "bytes | None"]
# Partition and offset, then the record.
Placed = tuple[int, int, bytes, "bytes | None"]
_BATCH_RECORDS = 2000
_POLL_SECONDS = 0.5
_CREATED_SECONDS = 30.0
_SETTINGS = ("cleanup.policy", "min.insync.replicas")
_UNANSWERED = (
    "_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_AUTHENTICATION", "_SSL",
    "_MAX_POLL_EXCEEDED", "REQUEST_TIMED_OUT",
)  # fmt: skip
# The client looks for its group's coordinator, which it never needs.
_OF_GROUPS = frozenset({"GROUP_AUTHORIZATION_FAILED", "COORDINATOR_NOT_AVAILABLE"})
# What a client says of its connections, the telling ones first.
_CAUSES = {
    "_AUTHENTICATION": "Correct user name and password",
    "_SSL": "Correct security_protocol and the certificate authorities",
    "_RESOLVE": "Correct bootstrap_servers",
    "_TRANSPORT": "Check bootstrap_servers, security_protocol and that the brokers run",
}


class KafkaRefusal(TargetError):
    """The brokers said no.

    Args:
        message: What they said.
        code: Name of Kafka's error.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class TopicLayout:
    """How a topic lies on the brokers.

    Attributes:
        partitions: Their numbers.
        replicas: Of the partition that has fewest.
        in_sync: Replicas in sync, of the partition that has fewest.
    """

    partitions: tuple[int, ...]
    replicas: int
    in_sync: int


@dataclass(frozen=True)
class Cluster:
    """Brokers and topics as the account may see them."""

    brokers: int
    topics: Mapping[str, TopicLayout]
    cluster_id: str = ""


class KafkaClient:
    """A cluster.

    Args:
        access: Cluster and account.
        connect_seconds: For a connection.
        read_seconds: For an answer.

    Raises:
        TargetUnreachable: By every method: no answer in time.
        KafkaRefusal: By every method: the brokers said no.
    """

    def __init__(self, access: KafkaAccess, connect_seconds: float, read_seconds: float) -> None:
        self.access = access
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds

    def cluster(self) -> Cluster:
        """Return brokers and topics."""
        with self._admin() as admin:
            found: Any = self._answer(lambda _: admin.list_topics(timeout=self._connect_seconds))
        topics = {
            str(name): TopicLayout(
                tuple(int(number) for number in topic.partitions),
                min(len(each.replicas) for each in topic.partitions.values()),
                min(len(each.isrs) for each in topic.partitions.values()),
            )
            for name, topic in found.topics.items()
            if topic.error is None and topic.partitions
        }
        return Cluster(len(found.brokers), topics, str(found.cluster_id or ""))

    def operations(self, topics: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
        """Return what the account may do with each topic, None where the brokers do not say."""
        found: dict[str, tuple[str, ...] | None] = {}
        collection = _driver().TopicCollection(list(topics))
        with self._admin() as admin:
            asked = admin.describe_topics(
                collection, include_authorized_operations=True, request_timeout=self._read_seconds
            )
            for topic in topics:
                try:
                    named = self._answer(asked[topic].result).authorized_operations
                    found[topic] = tuple(str(each.name) for each in named) if named else None
                except KafkaRefusal:
                    found[topic] = ()
        return found

    def settings(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return what decides whether a topic can hold a table; empty where that is refused."""
        found: dict[str, dict[str, str]] = {}
        parts = _driver("admin")
        with self._admin() as admin:
            asked = admin.describe_configs(
                [parts.ConfigResource(parts.ResourceType.TOPIC, topic) for topic in topics],
                request_timeout=self._read_seconds,
            )
            for resource, future in asked.items():
                try:
                    entries: Any = self._answer(future.result)
                except KafkaRefusal:
                    entries = {}
                found[str(resource.name)] = {
                    name: str(entries[name].value) for name in _SETTINGS if name in entries
                }
        return found

    def create(
        self,
        topics: Sequence[str],
        *,
        partitions: int | None,
        replication: int | None,
        settings: Mapping[str, str],
    ) -> None:
        """Create topics and wait until they are seen; one that is there already is left alone.

        Args:
            topics: Their names.
            partitions: None for the brokers' default.
            replication: None for the brokers' default.
            settings: Of each topic.
        """
        make = _driver("admin").NewTopic
        new = [
            make(topic, partitions or -1, replication or -1, config=dict(settings))
            for topic in topics
        ]
        with self._admin() as admin:
            asked: Mapping[str, Any] = admin.create_topics(new, request_timeout=self._read_seconds)
            for topic, future in asked.items():
                try:
                    self._answer(future.result)
                except KafkaRefusal as error:
                    if error.code != "TOPIC_ALREADY_EXISTS":  # another launcher was faster
                        raise TargetError(f"topic {topic} not made: {error.message}") from None
        deadline = time.monotonic() + _CREATED_SECONDS
        while missing := [topic for topic in topics if topic not in self.cluster().topics]:
            if time.monotonic() > deadline:
                raise TargetUnreachable(f"topic {missing[0]} was made, but is not seen")
            time.sleep(0.2)

    def try_transactions(self, transactional_id: str, milliseconds: int) -> str:
        """Ask for a transactional id; nothing is written to a topic.

        Returns:
            Empty when it was given, the name of Kafka's error otherwise.
        """
        producer = _driver().Producer(
            {
                **self._configuration(),
                "transactional.id": transactional_id,
                "transaction.timeout.ms": milliseconds,
            },
            logger=_silent(),
        )
        try:
            producer.init_transactions(self._read_seconds)
        except _driver().KafkaException as error:
            return str(error.args[0].name())
        return ""

    def records(self, topic: str, deadline: float) -> Generator[Record]:
        """Yield every committed record that is in a topic now, in order for each key.

        See `placed`.
        """
        with closing(self.placed(topic, deadline)) as found:
            for _, _, key, value in found:
                yield key, value

    def ends(self, topic: str) -> dict[int, int]:
        """Return the high watermark of each partition that holds something."""
        return {number: end for number, (_, end) in self._spans(topic).items()}

    def placed(self, topic: str, deadline: float) -> Generator[Placed]:
        """Yield every committed record that is in a topic now with its place.

        Records of a transaction that is still open are waited for, until it ends.

        Args:
            topic: Its name.
            deadline: On the monotonic clock.
        """
        spans = self._spans(topic)
        consumer = _driver().Consumer(
            {
                **self._configuration(),
                "group.id": "cdc-assets",  # never joined: partitions are assigned
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 16384,
                "fetch.wait.max.ms": 100,
            },
            logger=_silent(),
        )
        with closing(consumer):
            yield from self._until(consumer, topic, spans, deadline)

    def _spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return first offset and high watermark of each partition that holds something."""
        layout = self.cluster().topics.get(topic)
        if layout is None:
            raise TargetError(
                f"target {self.access.servers}: no topic {topic}, or no right to see it",
                hint="'cdc-assets preflight' says more",
            )
        places = [_driver().TopicPartition(topic, number) for number in layout.partitions]
        which = _driver("admin").OffsetSpec
        with self._admin() as admin:

            def ask(kind: object) -> dict[int, int]:
                asked = admin.list_offsets(
                    dict.fromkeys(places, kind), request_timeout=self._read_seconds
                )
                return {p.partition: self._answer(f.result).offset for p, f in asked.items()}

            # The high watermark, not the last stable offset: what the brokers know of counts.
            last, first = ask(which.latest()), ask(which.earliest())
        return {number: (first[number], end) for number, end in last.items() if end > first[number]}

    def _until(
        self,
        consumer: Any,  # noqa: ANN401 - the driver's
        topic: str,
        spans: Mapping[int, tuple[int, int]],
        deadline: float,
    ) -> Generator[Placed]:
        place, end_of_partition = _driver().TopicPartition, _driver().KafkaError._PARTITION_EOF  # noqa: SLF001 - the driver's name
        consumer.assign([place(topic, number, first) for number, (first, _) in spans.items()])
        at = {number: first for number, (first, _) in spans.items()}
        while at:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _unfinished(topic, at, spans)
            for record in consumer.consume(_BATCH_RECORDS, timeout=min(_POLL_SECONDS, left)):
                error, number, offset = record.error(), record.partition(), record.offset()
                is_end = error is not None and error.code() == end_of_partition
                if error is not None and not is_end:
                    self._judge(error)
                elif number in at:
                    at[number] = offset
                    if offset >= spans[number][1]:
                        del at[number]
                        consumer.pause([place(topic, number)])
                    elif not is_end:
                        yield number, offset, *_pair(topic, record.key(), record.value())

    def _judge(self, error: Any) -> None:  # noqa: ANN401 - the driver's
        """Raise an error that waiting does not mend."""
        ours = self._ours(error)
        if error.name() in _OF_GROUPS:
            return
        if error.fatal() or isinstance(ours, KafkaRefusal):
            raise ours

    @contextmanager
    def _admin(self) -> Generator[Any]:
        """Give an admin client; what it says about connections explains a silence."""
        errors: list[Any] = []
        settings = {**self._configuration(), "error_cb": errors.append}
        admin = _driver("admin").AdminClient(settings, logger=_silent())
        try:
            yield admin
        except TargetUnreachable as error:
            with suppress(Exception):  # only to be told more
                admin.poll(0.2)
            raise self._explained(error, errors) from None

    def _answer(self, ask: Callable[[float], T]) -> T:
        try:
            return ask(self._read_seconds + 1.0)
        except _driver().KafkaException as error:
            raise self._ours(error.args[0]) from None
        except TimeoutError:
            raise TargetUnreachable(
                f"target {self.access.servers}: no answer within {self._read_seconds:g} s"
            ) from None

    def _ours(self, error: Any) -> TargetError:  # noqa: ANN401 - the driver's
        text = f"target {self.access.servers}: {_one_line(error.str())}"
        name = str(error.name())
        if name in _UNANSWERED:
            return TargetUnreachable(text, hint="See that it runs and is reachable")
        return KafkaRefusal(text, name)

    def _explained(self, error: TargetUnreachable, said: Sequence[Any]) -> TargetUnreachable:
        """Return the error with the cause that the client saw, a refused login before others."""
        for name, hint in _CAUSES.items():
            for each in said:
                if each.name() == name:
                    text = f"target {self.access.servers}: {_one_line(each.str())}"
                    return TargetUnreachable(text, hint=hint)
        return error

    def _configuration(self) -> dict[str, object]:
        access = self.access
        found: dict[str, object] = {
            "bootstrap.servers": access.servers,
            "client.id": "cdc-assets",
            "security.protocol": access.protocol.lower(),
            "socket.connection.setup.timeout.ms": max(1000, round(self._connect_seconds * 1000)),
            "socket.timeout.ms": max(1000, round(self._read_seconds * 1000)),
            "log_level": 0,
        }
        if access.has_sasl:
            found["sasl.mechanism"] = access.mechanism
            found["sasl.username"] = access.username
            found["sasl.password"] = access.password
        if access.has_tls and access.ca:
            found["ssl.ca.pem"] = access.ca
        if access.has_tls and access.key:
            found["ssl.certificate.pem"] = access.certificate
            found["ssl.key.pem"] = access.key
        return found


def _driver(part: str = "") -> Any:  # noqa: ANN401 - its types are there in part only
    """Return the driver, or a part of it; it is loaded when it is used."""
    try:
        return importlib.import_module(f"confluent_kafka.{part}" if part else "confluent_kafka")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "confluent-kafka is not installed",
            field="target",
            hint="Install dagster-cdc-assets[kafka]",
        ) from None


def _silent() -> logging.Logger:
    """Return a logger that drops librdkafka's lines: they repeat, and errors say the same."""
    logger = logging.getLogger("cdc_assets.kafka.client")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def _pair(topic: str, key: object, value: object) -> Record:
    if key is None:
        raise TargetError(
            f"topic {topic}: a record without a key", hint="Another writer shares the topic"
        )
    return cast("bytes", key), cast("bytes | None", value)


def _unfinished(
    topic: str, at: Mapping[int, int], spans: Mapping[int, tuple[int, int]]
) -> TargetUnreachable:
    number, offset = next(iter(at.items()))
    return TargetUnreachable(
        f"topic {topic}: partition {number} was read to offset {offset} of {spans[number][1]} "
        "in time",
        hint="Allow more time; a transaction that a dead writer left open holds readers back "
        "until the brokers give it up",
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
