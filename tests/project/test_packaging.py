"""Dockerfile, docker-compose.yml, .env.example and the requirements say the same as the code."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from config import Settings, read_environment
from ops.startup import insecure_settings
from runtime.declarations import declarations
from runtime.mail_settings import NO_TLS, MailSettings, SmtpServer
from tests.support import ROOT, SECRET_KEY
from tests.support.dockerfile import instructions
from tests.support.documents import OPERATING, blocks

VARIABLES = {declaration.variable for declaration in declarations(Settings)}
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"
DEFAULTS = Settings.from_env({"DB_URL": NO_DATABASE, "SECRET_KEY": SECRET_KEY})


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


def filled_in(value: str, **environ: str) -> str:
    """Return a value of docker-compose.yml as Compose passes it on: ${NAME:-default}."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda variable: environ.get(variable[1]) or variable[2], value)


def in_the_container(compose: dict[str, Any], env_file: dict[str, str], **shell: str) -> dict[str, str]:
    """Return the environment of the service: `environment` goes before `env_file`, the shell before .env."""
    environment = compose["services"]["user-service"]["environment"]
    return env_file | {name: filled_in(value, **env_file | shell) for name, value in environment.items()}


def test_compose_takes_every_variable_from_an_optional_env_file(compose: dict[str, Any]) -> None:
    # The form with "required" needs Compose 2.24.
    assert compose["services"]["user-service"]["env_file"] == [{"path": ".env", "required": False}]


def test_compose_names_only_the_variables_that_env_file_must_not_decide(compose: dict[str, Any]) -> None:
    environment = set(compose["services"]["user-service"]["environment"])

    assert environment == {"DB_URL", "PORT", "SECRET_KEY"}
    assert environment <= VARIABLES
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == {"PORT", "SECRET_KEY"}


def test_compose_without_an_environment_gives_the_defaults_and_a_warning(compose: dict[str, Any]) -> None:
    settings = Settings.from_env(in_the_container(compose, {}))

    assert replace(settings, db_url=NO_DATABASE, secret_key=SECRET_KEY) == DEFAULTS
    assert ["SECRET_KEY is a sample value" in warning for warning in insecure_settings(settings, {})] == [
        True
    ]


@pytest.mark.parametrize("name", sorted(VARIABLES - {"DB_URL", "PORT"}))
def test_compose_passes_a_variable_on(compose: dict[str, Any], name: str) -> None:
    assert in_the_container(compose, {name: "from .env"})[name] == "from .env"


@pytest.mark.parametrize("name", ["DB_URL", "PORT"])
def test_compose_keeps_its_own_value(compose: dict[str, Any], name: str) -> None:
    own = compose["services"]["user-service"]["environment"][name]

    assert in_the_container(compose, {name: "from .env"}, **{name: "from the shell"})[name] == own


def test_compose_takes_the_key_of_the_shell_first(compose: dict[str, Any]) -> None:
    keys = {"SECRET_KEY": "from .env"}

    assert in_the_container(compose, keys, SECRET_KEY="from the shell")["SECRET_KEY"] == "from the shell"


def test_compose_publishes_the_port_on_this_machine_only(compose: dict[str, Any]) -> None:
    user_service = compose["services"]["user-service"]
    inside = user_service["environment"]["PORT"]

    assert [filled_in(port) for port in user_service["ports"]] == [f"127.0.0.1:{DEFAULTS.port}:{inside}"]
    assert filled_in(user_service["ports"][0], PORT="8090") == f"127.0.0.1:8090:{inside}"
    assert instructions("EXPOSE") == [inside]


def test_compose_starts_postgresql_15_first_and_waits_for_it(compose: dict[str, Any]) -> None:
    postgres = compose["services"]["postgres"]

    assert compose["services"]["user-service"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert postgres["image"] == "postgres:15"
    assert "pg_isready" in postgres["healthcheck"]["test"]


def test_compose_keeps_the_database_in_a_named_volume_and_unpublished(compose: dict[str, Any]) -> None:
    postgres = compose["services"]["postgres"]
    volume, _, target = postgres["volumes"][0].partition(":")

    assert volume in compose["volumes"]
    assert target == "/var/lib/postgresql/data"
    assert "ports" not in postgres


def test_compose_connects_to_the_database_that_it_starts(compose: dict[str, Any]) -> None:
    url = urlsplit(compose["services"]["user-service"]["environment"]["DB_URL"])
    postgres = compose["services"]["postgres"]["environment"]

    assert url.hostname == "postgres"
    assert url.username == postgres["POSTGRES_USER"]
    assert url.password == postgres["POSTGRES_PASSWORD"]
    assert url.path == f"/{postgres['POSTGRES_DB']}"


def test_compose_gives_gunicorn_the_time_to_finish_requests(compose: dict[str, Any]) -> None:
    timeout = re.search(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    assert timeout
    grace = compose["services"]["user-service"]["stop_grace_period"]

    assert int(grace.removesuffix("s")) > int(timeout[1])


def test_compose_without_a_profile_starts_the_service_and_its_database_alone(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]

    assert {name for name in services if "profiles" not in services[name]} == {"user-service", "postgres"}
    assert set(services["user-service"]["depends_on"]) == {"postgres"}
    assert services["mailpit"]["profiles"] == ["mail"]


def test_compose_pins_its_mail_server_and_shows_the_mails_on_this_machine_only(
    compose: dict[str, Any],
) -> None:
    mailpit = compose["services"]["mailpit"]

    assert re.fullmatch(r"axllent/mailpit:v\d+\.\d+", mailpit["image"])
    assert mailpit["ports"] == ["127.0.0.1:8025:8025"]


def test_printed_settings_lead_to_the_mail_server_of_compose(compose: dict[str, Any]) -> None:
    (printed,) = blocks(OPERATING, "sh", containing="SMTP_URL=")
    env_file = dict(line.split("=", 1) for line in printed.splitlines())

    mail = Settings.from_env(in_the_container(compose, env_file)).mail

    assert mail
    assert mail.smtp == SmtpServer("mailpit", 1025, NO_TLS)
    assert mail.smtp.host in compose["services"]


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_environment")
def test_env_example_as_it_is_gives_the_defaults_and_a_warning(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")

    settings = Settings.from_env({"DB_URL": NO_DATABASE} | read_environment(tmp_path))

    assert replace(settings, secret_key=SECRET_KEY) == DEFAULTS
    assert ["SECRET_KEY is a sample value" in warning for warning in insecure_settings(settings, {})] == [
        True
    ]


@pytest.mark.usefixtures("no_environment")
def test_env_example_without_its_comment_signs_still_gives_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[A-Z_]+=)", "", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text)

    settings = Settings.from_env(read_environment(tmp_path))

    mail = settings.mail
    assert replace(settings, db_url=NO_DATABASE, secret_key=SECRET_KEY, mail=None) == DEFAULTS
    assert mail is not None
    assert mail == MailSettings(mail.smtp, mail.mail_from, mail.frontend_url)


def test_env_example_names_every_variable_below_a_comment() -> None:
    text = (ROOT / ".env.example").read_text()

    assert set(re.findall(r"^# .*\n#?([A-Z_]+)=", text, re.MULTILINE)) == VARIABLES
