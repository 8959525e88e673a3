"""Topics as the brokers describe them, and what is wrong with them. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.preflight import Fault
from cdc_assets.errors import TargetUnreachable

# What a stream and its row counts do with a topic.
WANTED_OPERATIONS = ("DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE")
_SAFE_REPLICATION = 3


@dataclass(frozen=True)
class TopicFacts:
    """What the brokers say of one topic.

    Attributes:
        name: Of the topic.
        exists: Whether it does, as far as the account may see.
        partitions: Their number.
        replicas: Of the partition that has fewest.
        in_sync: Replicas in sync, of the partition that has fewest.
        operations: What the account may do; None when the brokers do not say.
        settings: The topic's settings; empty when the account may not see them.
        collides: An existing topic whose name Kafka takes for the same.
    """

    name: str
    exists: bool = True
    partitions: int = 0
    replicas: int = 0
    in_sync: int = 0
    operations: tuple[str, ...] | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    collides: str = ""


@dataclass(frozen=True)
class TopicRules:
    """What topics must be like.

    Attributes:
        servers: Bootstrap servers, for the commands that mend.
        account: Principal that needs rights; empty without authentication.
        creates: Whether the stream makes missing topics.
        partitions: Wanted number, None for whatever there is.
        replication: Wanted replication factor of new topics, None for the brokers' default.
        brokers: How many brokers there are.
    """

    servers: str
    account: str = ""
    creates: bool = False
    partitions: int | None = None
    replication: int | None = None
    brokers: int = 1

    def command(self, tool: str, *parts: str) -> str:
        """Return a command of Kafka's own tools."""
        return shlex.join([f"{tool}.sh", "--bootstrap-server", self.servers, *parts])

    def create_command(self, topic: str) -> str:
        """Return the command that makes a topic as a stream needs it."""
        parts = ["--create", "--topic", topic]
        if self.partitions is not None:
            parts += ["--partitions", str(self.partitions)]
        if self.replication is not None:
            parts += ["--replication-factor", str(self.replication)]
        return self.command("kafka-topics", *parts, "--config", "cleanup.policy=compact")


def judge_topic(topic: TopicFacts, rules: TopicRules) -> Iterator[Fault]:
    """Yield everything that keeps a topic from holding a table."""
    if not topic.exists:
        yield from _missing(topic, rules)
        return
    yield from _rights(topic, rules)
    yield from _policy(topic, rules)
    yield from _partitions(topic, rules)
    yield from _replication(topic, rules)


def judge_transactions(said: str, own: str, milliseconds: int, rules: TopicRules) -> Fault:
    """Return the fault of a transaction that could not begin.

    Args:
        said: Name of Kafka's error.
        own: What the stream's transactional ids begin with.
        milliseconds: How long its transactions may last.
        rules: For the commands that mend.
    """
    if said == "INVALID_TRANSACTION_TIMEOUT":
        setting = f"transaction.max.timeout.ms={milliseconds}"
        return Fault(
            "target.transaction_timeout",
            f"{milliseconds / 1000:g} s, more than the brokers allow",
            "at most the brokers' transaction.max.timeout.ms",
            "Lower transaction_timeout_seconds, but keep it longer than a recovery takes; or: "
            + rules.command("kafka-configs", "--alter", "--entity-type", "brokers",
                            "--entity-default", "--add-config", setting),
        )  # fmt: skip
    if said == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
        principal = f"User:{rules.account or '<account>'}"
        return Fault(
            "target.grants",
            f"{rules.account or 'the account'} without WRITE, DESCRIBE on transactional ids {own}*",
            "WRITE, DESCRIBE",
            rules.command("kafka-acls", "--add", "--allow-principal", principal, "--operation",
                          "Write", "--operation", "Describe", "--transactional-id", own,
                          "--resource-pattern-type", "prefixed"),
        )  # fmt: skip
    return Fault(
        "target.transactions",
        said,
        "a transaction coordinator that answers",
        "See the topic __transaction_state and its replicas, or choose at-least-once",
    )


def unreachable(error: TargetUnreachable) -> Fault:
    """Return the fault of brokers that do not answer or do not let the account in."""
    return Fault(
        "target.bootstrap_servers",
        error.message,
        "brokers that answer and let the account in",
        error.hint or "Check bootstrap_servers, security_protocol, user name and password",
    )


def _missing(topic: TopicFacts, rules: TopicRules) -> Iterator[Fault]:
    if topic.collides:
        yield Fault(
            topic.name,
            f"topic {topic.collides}, which Kafka takes for the same name",
            "names that differ in more than '.' and '_'",
            "Name the topic yourself: database.table:topic",
        )
    elif not rules.creates:
        yield Fault(
            topic.name,
            "no such topic, or no right to see it",
            "a compacted topic",
            f"{rules.create_command(topic.name)}  # or set create_topics",
        )
    elif rules.replication is not None and rules.replication > rules.brokers:
        yield Fault(
            "target.replication_factor",
            f"{rules.brokers} broker(s)",
            f"{rules.replication} or more for a new topic",
            "Lower replication_factor, or add brokers",
        )


def _rights(topic: TopicFacts, rules: TopicRules) -> Iterator[Fault]:
    if topic.operations is None:
        return
    missing = [name for name in WANTED_OPERATIONS if name not in topic.operations]
    if missing:
        yield Fault(
            "target.grants",
            f"{rules.account or 'the account'} without {', '.join(missing)} on {topic.name}",
            ", ".join(missing),
            _grant(rules, topic.name, missing),
        )


def _grant(rules: TopicRules, topic: str, operations: Sequence[str]) -> str:
    words = {"DESCRIBE_CONFIGS": "DescribeConfigs"}
    named = [part for name in operations for part in
             ("--operation", words.get(name, name.capitalize()))]  # fmt: skip
    principal = f"User:{rules.account or '<account>'}"
    return rules.command(
        "kafka-acls", "--add", "--allow-principal", principal, *named, "--topic", topic
    )


def _policy(topic: TopicFacts, rules: TopicRules) -> Iterator[Fault]:
    policy = topic.settings.get("cleanup.policy")
    if policy is None or policy == "compact":
        return
    lost = "expires old rows" if "delete" in policy else "keeps every change"
    yield Fault(
        f"{topic.name}.cleanup.policy",
        f"{policy}, which {lost}",
        "compact, which keeps the latest record of each key",
        _alter(rules, topic.name, "cleanup.policy=compact"),
    )


def _alter(rules: TopicRules, topic: str, setting: str) -> str:
    return rules.command(
        "kafka-configs", "--alter", "--entity-type", "topics", "--entity-name", topic,
        "--add-config", setting,
    )  # fmt: skip


def _partitions(topic: TopicFacts, rules: TopicRules) -> Iterator[Fault]:
    if rules.partitions is None or topic.partitions == rules.partitions:
        return
    yield Fault(
        f"{topic.name}.partitions",
        str(topic.partitions),
        str(rules.partitions),
        # A key's partition follows from their number: its old records would stay in another.
        "Make a new topic, or set partitions to what the topic has: a topic with records must"
        " never get more partitions",
        "warning",
    )


def _replication(topic: TopicFacts, rules: TopicRules) -> Iterator[Fault]:
    wanted = int(topic.settings.get("min.insync.replicas", "1") or 1)
    if wanted > topic.replicas:
        yield Fault(
            f"{topic.name}.min.insync.replicas",
            f"{wanted} of {topic.replicas} replica(s): no write can succeed",
            f"{topic.replicas} or less",
            _alter(rules, topic.name, f"min.insync.replicas={max(1, topic.replicas - 1)}"),
        )
    elif topic.in_sync < wanted:
        yield Fault(
            f"{topic.name}.replicas",
            f"{topic.in_sync} replica(s) in sync",
            f"{wanted} or more: fewer refuse every write",
            "Bring the brokers back that hold the other replicas",
        )
    elif topic.replicas < min(rules.brokers, _SAFE_REPLICATION):
        yield Fault(
            f"{topic.name}.replicas",
            f"{topic.replicas} replica(s) on {rules.brokers} brokers",
            "a copy that survives the loss of a broker",
            "Add replicas with kafka-reassign-partitions.sh",
            "warning",
        )
    elif topic.replicas >= _SAFE_REPLICATION and wanted == 1:
        yield Fault(
            f"{topic.name}.min.insync.replicas",
            "1",
            "2: an acknowledged record is on two brokers then",
            _alter(rules, topic.name, "min.insync.replicas=2"),
            "warning",
        )
