"""What fetchml keeps in Prefect: made once, found again, in the right order."""

import pytest

from fetchml.errors import ConfigError, NotFound, Unavailable
from fetchml.prefect_api.client import PrefectClient, is_healthy
from fetchml.prefect_api.dispatch import base_job_template, bootstrap, connect, queue_name
from fetchml.testing.builders import make_manifest, make_plan

pytestmark = pytest.mark.prefect


def test_bootstrap_makes_pool_queues_and_deployment_once(client: PrefectClient, pool: str) -> None:
    first = bootstrap(client, pool)
    second = bootstrap(client, pool)
    assert first.deployment_id == second.deployment_id
    assert connect(client, pool).deployment_id == first.deployment_id
    found = client.get(f"/work_pools/{pool}")
    assert found["type"] == "fetchml"
    assert found["base_job_template"] == base_job_template()
    queues = client.post(f"/work_pools/{pool}/queues/filter", {})
    assert len(queues) == 12  # one for each priority, and Prefect's own default


def test_higher_priorities_come_first_in_prefect_too(client: PrefectClient, pool: str) -> None:
    bootstrap(client, pool)
    queues = client.post(f"/work_pools/{pool}/queues/filter", {})
    by_rank = [item["name"] for item in sorted(queues, key=lambda item: item["priority"])]
    assert by_rank == [*(queue_name(priority) for priority in range(10, -1, -1)), "default"]


def test_a_missing_queue_is_made_again(client: PrefectClient, pool: str) -> None:
    bootstrap(client, pool)
    (wanted,) = [item for item in client.post(f"/work_pools/{pool}/queues/filter", {}) if item["name"] == queue_name(3)]
    assert wanted


def test_the_deployment_names_its_flow_by_module(client: PrefectClient, pool: str) -> None:
    deployment = client.get(f"/deployments/{bootstrap(client, pool).deployment_id}")
    assert deployment["entrypoint"] == "fetchml.flows.run_experiment.run_experiment"
    assert deployment["work_pool_name"] == pool


def test_an_attempt_has_one_flow_run_however_often_it_is_created(client: PrefectClient, pool: str) -> None:
    dispatcher = bootstrap(client, pool)
    plan = make_plan()
    manifest = make_manifest(plan, run_id="2026-11-20_aaaaaa")
    first = dispatcher.create_flow_run(manifest, plan, 1, "test-store")
    assert dispatcher.create_flow_run(manifest, plan, 1, "test-store") == first
    assert dispatcher.create_flow_run(manifest, plan, 2, "test-store") != first
    found = client.get(f"/flow_runs/{first}")
    assert found["name"] == "2026-11-20_aaaaaa"
    assert found["parameters"]["plan"]["snapshot_id"] == plan.snapshot_id
    assert found["work_queue_name"] == "priority-5"
    assert set(found["tags"]) == {"fetchml", "user:ada", "store:test-store"}
    assert found["state_type"] == "SCHEDULED"


def test_scheduled_runs_come_in_the_order_of_their_priority(client: PrefectClient, pool: str) -> None:
    dispatcher = bootstrap(client, pool)
    plan = make_plan()
    for number, priority in enumerate((5, 0, 10, 7)):
        manifest = make_manifest(plan, run_id=f"2026-11-20_{'bcde'[number] * 6}")
        identity = manifest.identity.model_copy(update={"priority": priority})
        dispatcher.create_flow_run(manifest.with_sections(identity=identity), plan, 1, "test-store")
    scheduled = client.post(f"/work_pools/{pool}/get_scheduled_flow_runs", {})
    assert [item["flow_run"]["work_queue_name"] for item in scheduled] == [
        "priority-10",
        "priority-7",
        "priority-5",
        "priority-0",
    ]


def test_what_is_not_there_is_not_found(client: PrefectClient) -> None:
    with pytest.raises(NotFound):
        connect(client, "no-such-pool")


def test_a_silent_server_is_unavailable_and_says_what_to_do() -> None:
    with pytest.raises(Unavailable) as caught:
        PrefectClient("http://127.0.0.1:9/api", timeout_s=1).get("/health")
    assert caught.value.hint is not None
    assert not is_healthy("http://127.0.0.1:9/api", timeout_s=1)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", "127.0.0.1:4200", "", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        PrefectClient(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        PrefectClient("http://ada:secret@127.0.0.1:4200/api")
    assert "secret" not in str(caught.value)
