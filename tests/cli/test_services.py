"""The commands about the background while nothing runs there: they tell, and start nothing."""

import pytest

from cli.calls import NOWHERE, User, is_refused

ALONE: dict[str, str | None] = {"FETCHML_PREFECT_API_URL": None}


def test_a_server_that_is_not_there_is_told_with_the_way_to_start_it(user: User) -> None:
    done = user.call("server", "status", env=ALONE)
    assert done.code == 6
    assert done.out == f"server   not running\nworker   not running\nhome     {user.home}\n"
    assert done.err == "`fetchml up` starts what is missing\n"
    assert not user.home.exists()


def test_the_status_of_the_server_as_json(user: User) -> None:
    done = user.call("server", "status", "--json", env=ALONE)
    assert (done.code, done.err) == (6, "")
    assert done.json() == {
        "schema_version": 1,
        "api_url": None,
        "ui_url": None,
        "private": True,
        "server_alive": False,
        "server_answers": False,
        "server_pid": None,
        "worker_alive": False,
        "worker_pid": None,
        "home": str(user.home),
    }


def test_an_existing_server_that_does_not_answer_is_told(user: User) -> None:
    done = user.call("server", "status")
    assert done.code == 6
    assert f"server   {NOWHERE}  not ours, does not answer\n" in done.out
    is_refused(user.call("up"), 6, "the Prefect server does not answer", NOWHERE, "`prefect.api_url`")


def test_a_server_that_does_not_answer_is_not_called_alive(user: User) -> None:
    assert user.call("server", "status", "--json").json()["server_alive"] is False


def test_up_is_not_offered_for_a_server_that_is_not_ours(user: User) -> None:
    findings = user.call("doctor", "--json").json()["findings"]
    hint = next(item["hint"] for item in findings if item["subject"] == "server")
    assert "fetchml up" not in (hint or "")


@pytest.mark.parametrize("name", ["ftp://x", "nonsense", "javascript:alert(1)", "http://"])
def test_what_is_no_prefect_address_is_told(user: User, name: str) -> None:
    done = user.call("up", "--prefect-api-url", name)
    is_refused(done, done.code)
    assert done.code in (2, 6)


def test_stopping_what_does_not_run_is_fine(user: User) -> None:
    for _ in range(2):
        done = user.call("down")
        assert (done.code, done.out, done.err) == (0, "nothing was running\n", "")
    assert user.call("down", "--json").json() == {"schema_version": 1, "stopped": False, "still_running": []}
    assert not user.home.exists()


def test_the_doctor_looks_at_everything_and_changes_nothing(user: User) -> None:
    done = user.call("doctor", "--json", env={**ALONE, "DOCKER_HOST": "unix:///nowhere.sock"})
    report = done.json()
    subjects = {item["subject"]: item for item in report["findings"]}
    wanted = {
        "home",
        "disk",
        "packages",
        "resources",
        "gpus",
        "docker",
        "podman",
        "process",
        "server",
        "worker",
        "runs",
    }
    assert wanted <= set(subjects)
    assert report["ok"] is (done.code == 0)
    assert "there is no socket" in subjects["docker"]["text"]
    assert subjects["server"]["hint"] == "`fetchml up` starts it"
    assert not user.home.exists()
    text = user.call("doctor", env={**ALONE, "DOCKER_HOST": "unix:///nowhere.sock"})
    assert text.code == done.code
    assert "hint: `fetchml up` starts it" in text.out


def test_the_doctor_calls_an_engine_wrong_only_if_it_was_asked_for(user: User) -> None:
    env: dict[str, str | None] = {**ALONE, "DOCKER_HOST": "unix:///nowhere.sock", "FETCHML_ENGINE": "docker"}
    done = user.call("doctor", "--json", env=env)
    levels = {item["subject"]: item["level"] for item in done.json()["findings"]}
    assert (done.code, levels["docker"], levels["process"]) == (6, "error", "ok")


def test_the_doctor_names_runs_that_cannot_be_read(user: User) -> None:
    run_id = user.queue("train.py")
    user.manifest_path(run_id).write_text("{}")
    done = user.call("doctor", "--json", env=ALONE)
    finding = next(item for item in done.json()["findings"] if item["subject"] == "runs")
    assert (done.code, finding["level"]) == (6, "error")
    assert run_id in finding["text"]
    assert "`fetchml validate RUN`" in finding["hint"]
