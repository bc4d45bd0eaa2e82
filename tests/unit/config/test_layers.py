from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from fetchml.config.layers import RUN_VARIABLES, Configuration, Origin, find_project_file, load
from fetchml.config.settings import Settings
from fetchml.errors import ConfigError


@dataclass
class Layers:
    """A home folder, a project and an environment of a test's own."""

    home: Path
    project: Path
    environ: dict[str, str] = field(default_factory=dict)

    def user(self, text: str) -> None:
        (self.home / "config.yaml").write_text(text)

    def write(self, text: str) -> None:
        (self.project / "fetchml.yaml").write_text(text)

    def load(self, flags: dict[str, object] | None = None, **options: object) -> Configuration:
        return load(flags, environ={"FETCHML_HOME": str(self.home), **self.environ}, cwd=self.project, **options)


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    return Layers(tmp_path / "home", tmp_path / "project")


SETTERS = {
    "user": lambda layers: layers.user("priority: 1"),
    "project": lambda layers: layers.write("priority: 2"),
    "environment": lambda layers: layers.environ.update(FETCHML_PRIORITY="3"),
}
VALUES = {"default": 5, "user": 1, "project": 2, "environment": 3, "flag": 4}


@pytest.mark.parametrize("present", list(product([False, True], repeat=4)), ids=str)
def test_the_nearest_layer_wins_whatever_the_others_say(layers, present):
    names = [name for name, is_set in zip((*SETTERS, "flag"), present, strict=True) if is_set]
    for name in names:
        if name in SETTERS:
            SETTERS[name](layers)
    found = layers.load({"priority": 4} if "flag" in names else None)
    winner = max(["default", *names], key=list(VALUES).index)
    assert found.settings.priority == VALUES[winner]
    places = {
        "default": "built in",
        "user": str(layers.home / "config.yaml"),
        "project": str(layers.project / "fetchml.yaml"),
        "environment": "FETCHML_PRIORITY",
        "flag": "--priority",
    }
    assert found.origins["priority"] == Origin(winner, places[winner])


def test_without_any_layer_everything_is_a_default(layers):
    found = layers.load()
    assert found.settings == Settings(home=layers.home)
    assert {origin.layer for key, origin in found.origins.items() if key != "home"} == {"default"}
    assert found.origins["home"] == Origin("environment", "FETCHML_HOME")
    assert (found.project_file, found.warnings) == (None, ())


def test_nested_and_dotted_keys_mean_the_same(layers):
    layers.user("resources:\n  gpus: 1\n  memory: 8G\n")
    layers.write("resources.gpus: 2\n")
    settings = layers.load().settings
    assert (settings.gpus, settings.memory) == (2, 8 * 1024**3)


@pytest.mark.parametrize(
    "text", ["resources.gpus: 1\nresources: {gpus: 2}\n", "resources: {gpus: 2}\nresources.gpus: 1\n"]
)
def test_a_key_set_twice_in_two_spellings_is_refused(layers, text):
    layers.user(text)
    with pytest.raises(ConfigError):
        layers.load()


def test_variables_of_runs_are_merged_over_the_layers(layers):
    layers.user("env: {A: user, B: user}")
    layers.write("env: {B: project, C: project}")
    found = layers.load({"env": {"C": "flag"}})
    assert found.settings.env == {"A": "user", "B": "project", "C": "flag"}


def test_all_faults_of_all_layers_are_named_at_once(layers):
    layers.user("prority: 5\nimage: 5\nhome: /x\n")
    layers.write("prefect:\n  port: 4200\nresources:\n  memory: much\n")
    layers.environ.update(FETCHML_PRIORITY="99", FETCHML_WORKER_POLL="5")
    with pytest.raises(ConfigError) as caught:
        layers.load()
    assert caught.value.summary == "7 settings are wrong"
    assert caught.value.code == "bad-config"
    user, project = layers.home / "config.yaml", layers.project / "fetchml.yaml"
    for part in (
        f"{user}: unknown key `prority`; did you mean `priority`?",
        f"{user}: `image`: `5` is not text",
        f"{user}: `home` cannot be set in a file that is found through it",
        f"{project}: `prefect.port` is a setting of the machine",
        f"{project}: `resources.memory`: `much` is not a size",
        "FETCHML_PRIORITY: `99` is out of range",
        "FETCHML_WORKER_POLL: `5` is not a duration",
    ):
        assert part in caught.value.detail


def test_a_single_fault_is_the_summary(layers):
    layers.environ["FETCHML_ENGINE"] = "slurm"
    with pytest.raises(ConfigError) as caught:
        layers.load()
    assert caught.value.summary == (
        "FETCHML_ENGINE: `slurm` is not accepted (expected one of auto, docker, podman, process)"
    )


def test_a_broken_file_does_not_hide_other_faults(layers):
    layers.user("a: [")
    layers.environ["FETCHML_PRIORITY"] = "99"
    with pytest.raises(ConfigError) as caught:
        layers.load()
    assert "FETCHML_PRIORITY" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("engin", "; did you mean `engine`?"),
        ("resources.gpu", "; did you mean `resources.gpus`?"),
        ("allowed_orgins", ""),
        ("zzzzz", ""),
    ],
)
def test_bad_022_an_unknown_key_is_refused_with_the_nearest_name(layers, key, nearest):
    layers.user(f"{key}: 1")
    with pytest.raises(ConfigError) as caught:
        layers.load()
    assert caught.value.summary.endswith(f"unknown key `{key}`{nearest}")


@pytest.mark.parametrize(
    "text", ["prefect: {port: 1}", "stop_grace: 5s", "docker.host: unix:///x", "output: {max_size: 1G}"]
)
def test_a_setting_of_the_machine_is_refused_in_a_project_and_taken_from_the_user(layers, text):
    layers.user(text)
    layers.load()
    layers.write(text)
    with pytest.raises(ConfigError, match="setting of the machine; set it in the user file or by FETCHML_"):
        layers.load()


def test_a_project_does_not_count_where_it_is_not_asked(layers):
    layers.write("priority: 99\nprefect: {port: 1}\n")
    found = layers.load(with_project=False)
    assert (found.settings.priority, found.project_file) == (5, None)


# The environment


@pytest.mark.parametrize(
    ("name", "nearest"), [("FETCHML_PRIORTY", "FETCHML_PRIORITY"), ("FETCHML_RESOURCES_GPU", "FETCHML_RESOURCES_GPUS")]
)
def test_a_misspelt_variable_is_a_warning_that_names_the_nearest(layers, name, nearest):
    layers.environ[name] = "3"
    assert layers.load().warnings == (f"`{name}` is no setting; did you mean `{nearest}`?",)


@pytest.mark.parametrize("name", ["FETCHML_QQQQQ", "FETCH_ML_GPU_COUNT", "fetchml_priority", "XFETCHML_GPUS"])
def test_a_variable_that_resembles_no_setting_is_left_alone(layers, name):
    layers.environ[name] = "3"
    found = layers.load()
    assert found.warnings == ()
    assert found.settings == Settings(home=layers.home)


@pytest.mark.parametrize("name", sorted(RUN_VARIABLES))
def test_variables_of_a_run_are_no_settings_so_that_scripts_can_call_fetchml(layers, name):
    layers.environ[name] = "x"
    found = layers.load()
    assert (found.settings, found.warnings) == (Settings(home=layers.home), ())


def test_variables_of_runs_are_not_taken_from_the_environment(layers):
    layers.environ["FETCHML_ENV"] = "A=1"
    assert layers.load().settings.env == {}


def test_prefects_own_variable_names_an_existing_server(layers):
    layers.user("prefect: {api_url: 'http://user/api'}")
    layers.environ["PREFECT_API_URL"] = "http://prefect/api"
    found = layers.load()
    assert found.settings.prefect_api_url == "http://prefect/api"
    assert found.origins["prefect.api_url"] == Origin("environment", "PREFECT_API_URL")


@pytest.mark.parametrize(("text", "value"), [("http://own/api", "http://own/api"), ("none", None), ("", None)])
def test_fetchmls_own_variable_wins_over_prefects(layers, text, value):
    layers.environ.update(PREFECT_API_URL="http://prefect/api", FETCHML_PREFECT_API_URL=text)
    found = layers.load()
    assert found.settings.prefect_api_url == value
    assert found.origins["prefect.api_url"].place == "FETCHML_PREFECT_API_URL"


def test_an_empty_variable_of_prefect_says_nothing(layers):
    layers.environ["PREFECT_API_URL"] = ""
    assert layers.load().origins["prefect.api_url"].layer == "default"


@pytest.mark.parametrize("url", ["http://x/\nGET /", "x" * 5000])
def test_prefects_variable_is_checked_as_the_setting_is(layers, url):
    layers.environ["PREFECT_API_URL"] = url
    with pytest.raises(ConfigError):
        layers.load()


# Where things are


def test_the_home_folder_comes_from_flag_then_variable_then_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    variable, flag = tmp_path / "variable", tmp_path / "flag"
    assert load(environ={}, cwd=tmp_path).settings.home == tmp_path / ".fetchml"
    assert load(environ={"FETCHML_HOME": str(variable)}, cwd=tmp_path).settings.home == variable
    assert load({"home": flag}, environ={"FETCHML_HOME": str(variable)}, cwd=tmp_path).settings.home == flag


def test_a_tilde_in_the_home_folder_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(environ={"FETCHML_HOME": "~/deep/er"}, cwd=tmp_path).settings.home == tmp_path / "deep" / "er"


def test_a_home_of_nobody_is_a_fault(tmp_path):
    with pytest.raises(ConfigError, match="set FETCHML_HOME"):
        load(environ={"FETCHML_HOME": "~no-such-user-at-all/x"}, cwd=tmp_path)


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_a_home_that_is_no_path_is_a_fault(tmp_path, text):
    with pytest.raises(ConfigError, match="FETCHML_HOME"):
        load(environ={"FETCHML_HOME": text}, cwd=tmp_path)


def test_a_home_folder_whose_name_is_too_long_is_a_fault(tmp_path):
    with pytest.raises(ConfigError):
        load(environ={"FETCHML_HOME": "/" + "x" * 300}, cwd=tmp_path)


def test_a_home_folder_that_may_not_be_entered_is_a_fault(layers, mode_bits_count):
    layers.home.chmod(0)
    try:
        with pytest.raises(ConfigError):
            layers.load()
    finally:
        layers.home.chmod(0o700)


def test_the_nearest_project_file_above_counts(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project_file(inner) is None
    (tmp_path / "fetchml.yaml").touch()
    assert find_project_file(inner) == tmp_path / "fetchml.yaml"
    (inner / "fetchml.yaml").touch()
    assert find_project_file(inner) == inner / "fetchml.yaml"


def test_a_project_file_that_may_not_be_looked_for_is_a_fault(tmp_path, mode_bits_count):
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0)
    try:
        with pytest.raises(ConfigError, match=r"cannot look for `.*/inner/fetchml\.yaml`"):
            find_project_file(inner)
    finally:
        inner.parent.chmod(0o700)


def test_a_current_folder_that_is_gone_is_a_fault(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="does not exist any more"):
        find_project_file()


def test_a_folder_in_place_of_a_file_is_named(layers):
    (layers.project / "fetchml.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"fetchml\.yaml`") as caught:
        layers.load()
    assert caught.value.detail == "Is a directory"


# Nothing is filled in

PLACEHOLDERS = ["${HOME}", "${UNSET}/x", "${A${B}}", "a${B", "$(id)", "x$(rm -rf ~)", "$HOME/data", "$HOME"]


@pytest.mark.parametrize("text", PLACEHOLDERS)
@pytest.mark.parametrize(
    "lines", ["docker: {{host: '{}'}}", "datasets: {{block: '{}'}}", "env: {{A: '{}'}}", "image: '{}'"]
)
def test_variables_and_commands_in_a_file_are_refused(layers, lines, text):
    layers.user(lines.format(text))
    with pytest.raises(ConfigError) as caught:
        layers.load()
    assert f"`{text}` holds a variable or a command" in str(caught.value)
    assert "nothing is filled in" in str(caught.value)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_variables_and_commands_in_a_list_are_refused(layers, text):
    layers.write(f"dataset_specs: ['{text}']\nsnapshot: {{allow_secrets: [x, '{text}']}}\n")
    with pytest.raises(ConfigError) as caught:
        layers.load()
    assert caught.value.summary == "2 settings are wrong"
    assert caught.value.detail.count("holds a variable or a command") == 2


@pytest.mark.parametrize("variable", ["FETCHML_HOME", "FETCHML_DOCKER_HOST"])
@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_variables_and_commands_in_the_environment_are_refused(layers, variable, text):
    layers.environ[variable] = text
    with pytest.raises(ConfigError, match="holds a variable or a command"):
        layers.load()


@pytest.mark.parametrize("text", ["5 $", "a$b", "cost$", "$1", "$", "a $HOME", "%(x)s", "{x}"])
def test_a_dollar_alone_is_text(layers, text):
    layers.write(f"env: {{A: '{text}'}}")
    assert layers.load().settings.env == {"A": text}


def test_what_a_flag_holds_was_filled_in_by_the_shell(layers):
    assert layers.load({"env": {"A": "${B}"}}).settings.env == {"A": "${B}"}
