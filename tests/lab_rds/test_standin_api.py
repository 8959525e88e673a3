"""Instances, deployments, parameter groups and labels of the stand-in, asked through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from cdc_assets.errors import LabError, ServiceFailed
from cdc_assets.lab.rds_state import STATE_FILE, FileStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import FakeLab, Served


def error_of(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def create(standin: Served, name: str = "next", **parameters: str) -> dict[str, Any]:
    source = standin.instances()["lab-mysql"]["DBInstanceArn"]
    return standin.client.create_blue_green_deployment(
        BlueGreenDeploymentName=name, Source=source, **parameters
    )["BlueGreenDeployment"]


def after_switchover(standin: Served, *, clean: bool) -> None:
    """Switch over; with `clean`, delete the deployment and old production too."""
    deployment = standin.switch()
    if clean:
        standin.client.delete_blue_green_deployment(
            BlueGreenDeploymentIdentifier=deployment["BlueGreenDeploymentIdentifier"]
        )
        standin.client.delete_db_instance(
            DBInstanceIdentifier="lab-mysql-old1", SkipFinalSnapshot=True
        )


# ---------------------------------------------------------------- labels


def test_every_answer_and_every_thing_says_that_it_is_a_stand_in(standin: Served) -> None:
    answer = standin.client.describe_db_instances()
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-cdc-lab"] == "RDS API stand-in"
    label = {"Key": "lab/stand-in", "Value": "true"}
    for instance in answer["DBInstances"]:
        assert label in instance["TagList"]
        tags = standin.client.list_tags_for_resource(ResourceName=instance["DBInstanceArn"])
        assert label in tags["TagList"]
    assert label in standin.deployment()["TagList"]
    page = requests.get(standin.url, timeout=10)
    assert "stand-in" in page.text
    assert page.headers["X-Cdc-Lab"] == "RDS API stand-in"


@pytest.mark.parametrize("call", ["describe_db_engine_versions", "describe_db_snapshots"])
def test_an_operation_outside_the_lab_is_a_proper_error(standin: Served, call: str) -> None:
    code, message = error_of(getattr(standin.client, call))
    assert code == "NotImplemented"
    assert "not part of the lab" in message


def test_another_region_is_told_where_the_lab_is(standin: Served) -> None:
    client = standin.client_in("eu-west-1")
    code, message = error_of(client.describe_db_instances)
    assert code == "InvalidParameterValue"
    assert "us-east-1" in message
    client.close()


def test_what_fails_inside_is_a_proper_error(standin: Served, lab: FakeLab) -> None:
    def fail(_server: str) -> None:
        message = "process 12 is alive after SIGKILL"
        raise LabError(message)

    after_switchover(standin, clean=False)
    lab.stop = fail  # type: ignore[method-assign] # the server does not end
    standin.client.meta.config.retries = {"max_attempts": 0}
    code, message = error_of(
        lambda: standin.client.delete_db_instance(
            DBInstanceIdentifier="lab-mysql-old1", SkipFinalSnapshot=True
        )
    )
    assert code == "InternalFailure"
    assert "alive after SIGKILL" in message


# ---------------------------------------------------------------- instances


def test_an_unknown_instance_is_not_found(standin: Served) -> None:
    code, _ = error_of(lambda: standin.client.describe_db_instances(DBInstanceIdentifier="nothing"))
    assert code == "DBInstanceNotFound"


def test_the_lab_has_no_clusters(standin: Served) -> None:
    assert standin.client.describe_db_clusters()["DBClusters"] == []
    code, _ = error_of(lambda: standin.client.describe_db_clusters(DBClusterIdentifier="c"))
    assert code == "DBClusterNotFoundFault"


def test_production_and_members_of_a_waiting_deployment_cannot_be_deleted(
    standin: Served, lab: FakeLab
) -> None:
    for name in standin.instances():
        code, _ = error_of(
            lambda n=name: standin.client.delete_db_instance(
                DBInstanceIdentifier=n, SkipFinalSnapshot=True
            )
        )
        assert code == "InvalidDBInstanceState"
    assert lab.stopped == []


def test_deleting_needs_a_word_about_the_final_snapshot(standin: Served) -> None:
    after_switchover(standin, clean=False)
    code, _ = error_of(
        lambda: standin.client.delete_db_instance(DBInstanceIdentifier="lab-mysql-old1")
    )
    assert code == "InvalidParameterCombination"


def test_deleting_old_production_stops_its_server(standin: Served, lab: FakeLab) -> None:
    after_switchover(standin, clean=False)
    reply = standin.client.delete_db_instance(
        DBInstanceIdentifier="lab-mysql-old1", SkipFinalSnapshot=True
    )
    assert reply["DBInstance"]["DBInstanceStatus"] == "deleting"
    assert lab.stopped == ["blue"]
    assert set(standin.instances()) == {"lab-mysql"}
    assert standin.deployment()["SwitchoverDetails"][0]["Status"] == "MISSING_SOURCE"
    assert standin.messages("db-instance")[-1] == "DB instance deleted"


# ---------------------------------------------------------------- deployments


def test_filters_select_deployments(standin: Served) -> None:
    found = standin.deployment()
    for name, value in (
        ("blue-green-deployment-identifier", found["BlueGreenDeploymentIdentifier"]),
        ("blue-green-deployment-name", found["BlueGreenDeploymentName"]),
        ("source", found["Source"]),
        ("target", found["Target"]),
    ):
        filters = [{"Name": name, "Values": [value]}]
        answer = standin.client.describe_blue_green_deployments(Filters=filters)
        assert answer["BlueGreenDeployments"] == [found]
        filters = [{"Name": name, "Values": ["other"]}]
        answer = standin.client.describe_blue_green_deployments(Filters=filters)
        assert answer["BlueGreenDeployments"] == []


def test_an_unknown_filter_and_an_unknown_deployment_are_errors(standin: Served) -> None:
    describe = standin.client.describe_blue_green_deployments
    filters = [{"Name": "status", "Values": ["AVAILABLE"]}]
    assert error_of(lambda: describe(Filters=filters))[0] == "InvalidParameterValue"
    assert (
        error_of(lambda: describe(BlueGreenDeploymentIdentifier="bgd-none"))[0]
        == "BlueGreenDeploymentNotFoundFault"
    )


def test_the_whole_circle_can_go_round_twice(standin: Served, lab: FakeLab) -> None:
    for production in ("green", "blue"):
        after_switchover(standin, clean=True)
        assert lab.roles is not None
        assert lab.roles[0] == production
        assert create(standin)["Status"] == "PROVISIONING"
        assert standin.settled()["Status"] == "AVAILABLE"
    assert len(standin.instances()) == 2
    coordinates = [m for m in standin.messages("db-instance") if m.startswith("Binary log")]
    assert len(coordinates) == 2


def test_a_new_deployment_is_provisioning_without_target_until_green_is_there(
    standin: Served, lab: FakeLab
) -> None:
    after_switchover(standin, clean=True)
    lab.provisioning.clear()
    create(standin, TargetEngineVersion="11.4.7")
    waiting = standin.deployment()
    assert waiting["Status"] == "PROVISIONING"
    assert "Target" not in waiting
    assert waiting["SwitchoverDetails"][0]["Status"] == "PROVISIONING"
    lab.provisioning.set()
    ready = standin.settled()
    assert ready["Status"] == "AVAILABLE"
    green = ready["Target"].rpartition(":")[2]
    assert standin.instances()[green]["EngineVersion"] == "11.4.7"
    assert standin.messages("blue-green-deployment")[-1].startswith(
        "Blue/green deployment tasks completed."
    )


def test_a_failed_creation_says_why(standin: Served, lab: FakeLab) -> None:
    after_switchover(standin, clean=True)
    lab.provision_error = ServiceFailed("blue died while starting", hint="See its log")
    create(standin)
    failed = standin.settled()
    assert failed["Status"] == "INVALID_CONFIGURATION"
    assert failed["StatusDetails"] == "blue died while starting. See its log"
    assert standin.messages("blue-green-deployment")[-1] == (
        "Creation of blue/green deployment failed because blue died while starting. See its log."
    )
    assert set(standin.instances()) == {"lab-mysql"}


def test_a_kill_during_a_creation_is_told_at_the_next_start(
    lab: FakeLab, serve_standin: Callable[[FakeLab], Served], tmp_path: Path
) -> None:
    first = serve_standin(lab)
    after_switchover(first, clean=True)
    lab.provisioning.clear()
    create(first)
    saved = (tmp_path / STATE_FILE).read_text()
    lab.provisioning.set()
    first.close()
    (tmp_path / STATE_FILE).write_text(saved)
    second = serve_standin(lab)
    assert second.deployment()["Status"] == "INVALID_CONFIGURATION"


@pytest.mark.parametrize("cleaned", ["nothing", "deployment"])
def test_creation_is_refused_until_old_production_is_gone(standin: Served, cleaned: str) -> None:
    after_switchover(standin, clean=False)
    if cleaned == "deployment":
        identifier = standin.deployment()["BlueGreenDeploymentIdentifier"]
        standin.client.delete_blue_green_deployment(BlueGreenDeploymentIdentifier=identifier)
        code, message = error_of(lambda: create(standin))
        assert code == "InstanceQuotaExceeded"
        assert "lab-mysql-old1" in message
    else:
        assert error_of(lambda: create(standin))[0] == "InvalidDBInstanceState"


def test_a_taken_name_and_a_foreign_source_are_refused(standin: Served) -> None:
    name = standin.deployment()["BlueGreenDeploymentName"]
    assert error_of(lambda: create(standin, name))[0] == "BlueGreenDeploymentAlreadyExistsFault"
    code, _ = error_of(
        lambda: standin.client.create_blue_green_deployment(
            BlueGreenDeploymentName="n", Source="arn:aws:rds:us-east-1:123456789012:db:none"
        )
    )
    assert code == "DBInstanceNotFound"


def test_old_production_is_no_source(standin: Served) -> None:
    after_switchover(standin, clean=False)
    identifier = standin.deployment()["BlueGreenDeploymentIdentifier"]
    standin.client.delete_blue_green_deployment(BlueGreenDeploymentIdentifier=identifier)
    source = standin.instances()["lab-mysql-old1"]["DBInstanceArn"]
    code, _ = error_of(
        lambda: standin.client.create_blue_green_deployment(
            BlueGreenDeploymentName="back", Source=source
        )
    )
    assert code == "SourceDatabaseNotSupportedFault"


def test_deleting_a_deployment_keeps_old_production(standin: Served) -> None:
    after_switchover(standin, clean=False)
    identifier = standin.deployment()["BlueGreenDeploymentIdentifier"]
    code, _ = error_of(
        lambda: standin.client.delete_blue_green_deployment(
            BlueGreenDeploymentIdentifier=identifier, DeleteTarget=True
        )
    )
    assert code == "InvalidParameterCombination"
    reply = standin.client.delete_blue_green_deployment(BlueGreenDeploymentIdentifier=identifier)
    assert reply["BlueGreenDeployment"]["Status"] == "DELETING"
    assert standin.client.describe_blue_green_deployments()["BlueGreenDeployments"] == []
    assert set(standin.instances()) == {"lab-mysql", "lab-mysql-old1"}
    assert standin.messages("blue-green-deployment")[-1] == "Blue/green deployment deleted."


@pytest.mark.parametrize("delete_target", [True, False])
def test_deleting_before_a_switchover_ends_green_or_its_replication(
    standin: Served, lab: FakeLab, *, delete_target: bool
) -> None:
    identifier = standin.deployment()["BlueGreenDeploymentIdentifier"]
    standin.client.delete_blue_green_deployment(
        BlueGreenDeploymentIdentifier=identifier, DeleteTarget=delete_target
    )
    assert lab.stopped == (["green"] if delete_target else [])
    assert len(standin.instances()) == (1 if delete_target else 2)
    assert (lab.green.upstream is None) == (not delete_target)


# ---------------------------------------------------------------- parameter groups


def test_an_instance_names_its_parameter_group_and_what_the_server_has(standin: Served) -> None:
    (group,) = standin.instances()["lab-mysql"]["DBParameterGroups"]
    assert group == {
        "DBParameterGroupName": "lab-mariadb10-11",
        "ParameterApplyStatus": "in-sync",
    }
    answer = standin.client.describe_db_parameters(DBParameterGroupName="lab-mariadb10-11")
    values = {p["ParameterName"]: p["ParameterValue"] for p in answer["Parameters"]}
    assert values == {"binlog_format": "ROW", "gtid-mode": "ON"}


def test_the_apply_status_can_be_set(standin: Served) -> None:
    answer = standin.post(
        "/lab/parameter-apply-status", {"instance": "lab-mysql", "status": "pending-reboot"}
    )
    assert answer.ok
    (group,) = standin.instances()["lab-mysql"]["DBParameterGroups"]
    assert group["ParameterApplyStatus"] == "pending-reboot"


def test_a_changed_static_parameter_waits_for_a_reboot(standin: Served) -> None:
    parameter = {
        "ParameterName": "binlog_format",
        "ParameterValue": "MIXED",
        "ApplyMethod": "pending-reboot",
    }
    standin.client.modify_db_parameter_group(
        DBParameterGroupName="lab-mariadb10-11", Parameters=[parameter]
    )
    filters = [{"Name": "parameter-name", "Values": ["binlog_format"]}]
    (found,) = standin.client.describe_db_parameters(
        DBParameterGroupName="lab-mariadb10-11", Filters=filters
    )["Parameters"]
    assert found["ParameterValue"] == "MIXED"
    status = {
        name: instance["DBParameterGroups"][0]["ParameterApplyStatus"]
        for name, instance in standin.instances().items()
    }
    assert status.pop("lab-mysql") == "pending-reboot"
    assert list(status.values()) == ["in-sync"]


def test_a_new_parameter_group_is_kept(
    lab: FakeLab, serve_standin: Callable[[FakeLab], Served]
) -> None:
    first = serve_standin(lab)
    first.client.create_db_parameter_group(
        DBParameterGroupName="mine", DBParameterGroupFamily="mariadb11.4", Description="d"
    )
    first.close()
    second = serve_standin(lab)
    groups = second.client.describe_db_parameter_groups(DBParameterGroupName="mine")
    assert groups["DBParameterGroups"][0]["DBParameterGroupFamily"] == "mariadb11.4"
    second.client.delete_db_parameter_group(DBParameterGroupName="mine")
    found = second.client.describe_db_parameter_groups()["DBParameterGroups"]
    assert [group["DBParameterGroupName"] for group in found] == [
        "lab-mariadb10-11",
        "lab-mariadb11-4",
    ]


def test_a_used_parameter_group_cannot_be_deleted(standin: Served) -> None:
    code, _ = error_of(
        lambda: standin.client.delete_db_parameter_group(DBParameterGroupName="lab-mariadb11-4")
    )
    assert code == "InvalidDBParameterGroupState"


def test_an_unknown_parameter_group_is_not_found(standin: Served) -> None:
    code, _ = error_of(lambda: standin.client.describe_db_parameters(DBParameterGroupName="none"))
    assert code == "DBParameterGroupNotFound"


# ---------------------------------------------------------------- lab-only routes, state


@pytest.mark.parametrize(
    ("route", "document"),
    [
        ("/lab/settings", {"speed": 1}),
        ("/lab/settings", {"allowed_lag_seconds": "5"}),
        ("/lab/settings", {"allowed_lag_seconds": -1}),
        ("/lab/settings", {"pause_green_apply": 1}),
        ("/lab/settings", [1]),
        ("/lab/suppress", {}),
        ("/lab/suppress", {"events": True}),
        ("/lab/suppress", {"coordinates": "yes"}),
        ("/lab/parameter-apply-status", {"instance": "none", "status": "in-sync"}),
        ("/lab/parameter-apply-status", {"instance": "lab-mysql"}),
    ],
)
def test_a_wrong_lab_command_is_refused_and_changes_nothing(
    standin: Served, route: str, document: object
) -> None:
    before = FileStore(standin.home).state
    answer = standin.post(route, document)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert FileStore(standin.home).state == before


def test_an_unknown_route_says_which_exist(standin: Served) -> None:
    answer = standin.post("/lab/reset", {})
    assert answer.status_code == 404
    assert "/lab/suppress" in answer.json()["error"]


def test_the_lab_state_shows_which_server_is_production(standin: Served) -> None:
    standin.switch()
    shown = requests.get(f"{standin.url}/lab/state", timeout=10).json()
    assert [i["server"] for i in shown["instances"] if i["production"]] == ["green"]
    assert shown["last_switchover"]["writes_stopped_seconds"] >= 0


@pytest.mark.parametrize("text", ["", "{", "{}", '{"format": 99}', '{"format": 1}', "[]"])
def test_a_state_file_that_cannot_be_read_is_an_error_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / STATE_FILE
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ServiceFailed, match="cannot be read"):
        FileStore(tmp_path)
    assert path.read_text() == text
