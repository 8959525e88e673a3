"""KafkaTarget: the port `JudgedTarget` for topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from cdc_assets.core.columns import TableShape
from cdc_assets.core.kafka import (
    DEFAULT_TRANSACTION_SECONDS,
    TRANSACTIONAL_ID_PREFIX,
    Delivery,
    KafkaAccess,
    topic_of,
)
from cdc_assets.core.preflight import Fault
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import CdcError, ConfigurationError, TargetUnreachable
from cdc_assets.ports import Key, TopicCount
from cdc_assets.targets.kafka_client import Cluster, KafkaClient, Placed, Record
from cdc_assets.targets.kafka_keys import (
    KeyBound,
    LiveKeys,
    is_no_delete,
    is_no_tombstone,
    values_of,
)
from cdc_assets.targets.kafka_topics import (
    TopicFacts,
    TopicRules,
    judge_topic,
    judge_transactions,
    unreachable,
)


@dataclass(frozen=True)
class TopicPolicy:
    """What the stream may do about topics, and how it writes.

    Attributes:
        creates: Whether a snapshot makes missing topics.
        partitions: Of new topics, and expected of others; None for the brokers' default.
        replication: Of new topics; None for the brokers' default.
        settings: More settings of new topics.
        delivery: How the stream writes.
        transaction_seconds: Of the writer's transactions.
    """

    creates: bool = False
    partitions: int | None = None
    replication: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    delivery: Delivery = "exactly-once"
    transaction_seconds: float = DEFAULT_TRANSACTION_SECONDS


class KafkaTarget:
    """The topics of a cluster that rows land in.

    Args:
        client: The cluster.
        prefix: Before each topic's name.
        policy: About topics.
        alive: Says of a record's value that its key is there after it.
    """

    def __init__(
        self,
        client: KafkaClient,
        prefix: str = "",
        *,
        policy: TopicPolicy | None = None,
        alive: Callable[[bytes | None], bool] = is_no_tombstone,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._policy = policy or TopicPolicy()
        self._alive = alive

    def of_change_events(self) -> KafkaTarget:
        """Return the same for topics in which a delete is an event, and no tombstone."""
        return KafkaTarget(self._client, self._prefix, policy=self._policy, alive=is_no_delete)

    def __repr__(self) -> str:
        """Return servers, prefix and account, without the password."""
        access = self._access
        return f"KafkaTarget({access.servers}, {self._prefix!r}, {access.username!r})"

    @property
    def _access(self) -> KafkaAccess:
        return self._client.access

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the topics as tables without columns.

        Raises:
            ConfigurationError: A topic does not exist.
            TargetUnreachable: No answer in time.
        """
        topics = [topic_of(self._prefix, name) for name in names]
        if not topics:
            return ()
        known = self._client.cluster().topics
        for topic in topics:
            if topic not in known:
                raise ConfigurationError(
                    f"no such topic on {self._access.servers}, or the account may not see it",
                    field="target topics",
                    value=topic,
                    hint="'cdc-assets preflight' prints the command that makes it",
                )
        return tuple(TableShape(self._prefix, name, (), ()) for name in names)

    def cluster_id(self) -> str:
        """Return which cluster this is; offsets mean nothing in another one.

        Raises:
            TargetUnreachable: No answer in time.
        """
        return self._client.cluster().cluster_id

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Create the topics that are missing, compacted, if the policy says so.

        Raises:
            TargetError: The brokers refuse one.
        """
        del shapes  # A topic has no columns.
        policy = self._policy
        if not policy.creates:
            return ()
        known = self._client.cluster().topics
        topics = (topic_of(self._prefix, name) for name in spec.target_names)
        missing = [topic for topic in topics if topic not in known]
        if missing:
            self._client.create(
                missing,
                partitions=policy.partitions,
                replication=policy.replication,
                settings={"cleanup.policy": "compact", **policy.settings},
            )
        return missing

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        """Count the keys whose latest committed record is not a delete.

        Everything that was in the topic at the call is read, up to the high watermark of that
        moment.

        Raises:
            TargetUnreachable: Not read to the end in time.
            TargetError: The brokers refuse it, or a bound cannot be compared.
        """
        return self.live(name, timeout_seconds=timeout_seconds, key=key, bound=bound).count

    def live(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> TopicCount:
        """Count as `count` does, and say how far each partition was read.

        Raises:
            TargetUnreachable: Not read to the end in time.
            TargetError: The brokers refuse it, or a bound cannot be compared.
        """
        upto = KeyBound(key, bound) if bound is not None and key else None
        ends: dict[int, int] = {}
        with closing(LiveKeys()) as live:
            for number, offset, raw, value in self._placed(name, timeout_seconds):
                ends[number] = offset + 1
                if upto is None or upto.holds(raw):
                    live.see(raw, alive=self._alive(value))
            return TopicCount(live.count(), ends)

    def max_key(self, name: str, key: Sequence[str], *, timeout_seconds: float) -> Key | None:
        """Return the largest key of all records, also of deleted ones: it only has to stay.

        Raises:
            TargetUnreachable: Not read to the end in time.
            TargetError: The brokers refuse it, or a key is not of whole numbers.
        """
        whole = (0,) * len(key)
        placed = self._placed(name, timeout_seconds)
        return max((values_of(raw, key, whole) for _, _, raw, _ in placed), default=None)

    def high_watermarks(self, names: Sequence[str]) -> Mapping[str, Mapping[int, int]]:
        """Return the high watermarks of topics, by the names without the prefix.

        Raises:
            TargetUnreachable: No answer in time.
            TargetError: The brokers refuse it.
        """
        return {name: self._client.ends(topic_of(self._prefix, name)) for name in names}

    def records(self, name: str, *, timeout_seconds: float) -> Generator[Record]:
        """Yield key and value of every committed record that is in a topic at the call.

        Raises:
            TargetUnreachable: Not read to the end in time.
            TargetError: The brokers refuse it, or a record has no key.
        """
        topic = topic_of(self._prefix, name)
        return self._client.records(topic, time.monotonic() + timeout_seconds)

    def _placed(self, name: str, timeout_seconds: float) -> Generator[Placed]:
        topic = topic_of(self._prefix, name)
        return self._client.placed(topic, time.monotonic() + timeout_seconds)

    def faults(self, spec: StreamSpec, shapes: Mapping[str, TableShape]) -> Sequence[Fault]:
        """Return everything that keeps the stream from landing in its topics.

        The brokers are asked for a transactional id of the stream's own: that is how they say
        whether the account may have one, and whether its transactions may last as long.
        """
        del shapes  # A topic has no columns.
        try:
            names = [topic_of(self._prefix, name) for name in spec.target_names]
        except ConfigurationError as error:
            return [Fault("target.topics", str(error.value), error.message, error.hint)]
        try:
            cluster = self._client.cluster()
            rules = self._rules(cluster)
            found = self._facts(cluster, names)
            judged = [fault for each in found for fault in judge_topic(each, rules)]
            return [*judged, *self._transactions(spec, rules)]
        except TargetUnreachable as error:
            return [unreachable(error)]
        except CdcError as error:
            return [Fault("target", error.message, "an answer", error.hint or "See the brokers")]

    def _rules(self, cluster: Cluster) -> TopicRules:
        policy = self._policy
        return TopicRules(
            servers=self._access.servers,
            account=self._access.username,
            creates=policy.creates,
            partitions=policy.partitions,
            replication=policy.replication,
            brokers=cluster.brokers,
        )

    def _facts(self, cluster: Cluster, topics: Sequence[str]) -> list[TopicFacts]:
        known = [topic for topic in topics if topic in cluster.topics]
        operations = self._client.operations(known) if known else {}
        settings = self._client.settings(known) if known else {}
        found: list[TopicFacts] = []
        for topic in topics:
            layout = cluster.topics.get(topic)
            if layout is None:
                same = topic.replace(".", "_")
                near = (name for name in cluster.topics if name.replace(".", "_") == same)
                found.append(TopicFacts(topic, exists=False, collides=next(near, "")))
                continue
            found.append(
                TopicFacts(
                    topic,
                    partitions=len(layout.partitions),
                    replicas=layout.replicas,
                    in_sync=layout.in_sync,
                    operations=operations.get(topic),
                    settings=settings.get(topic, {}),
                )
            )
        return found

    def _transactions(self, spec: StreamSpec, rules: TopicRules) -> list[Fault]:
        """Return why the writer could not begin a transaction."""
        if self._policy.delivery != "exactly-once":
            return []
        own = f"{TRANSACTIONAL_ID_PREFIX}{spec.name}-"
        milliseconds = round(self._policy.transaction_seconds * 1000)
        said = self._client.try_transactions(f"{own}preflight", milliseconds)
        return [judge_transactions(said, own, milliseconds, rules)] if said else []
