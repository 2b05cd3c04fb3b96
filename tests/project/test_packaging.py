"""Dockerfile, docker-compose.yml, .env.example and the requirements say the same as the code."""

import json
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement

from config import Settings, read_environment
from ops import healthcheck as healthcheck_module
from runtime.declarations import declarations
from tests.support import ROOT, SECRET_KEY, service

VARIABLES = {declaration.variable for declaration in declarations(Settings)}
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"
DEFAULTS = Settings.from_env({"DB_URL": NO_DATABASE, "SECRET_KEY": SECRET_KEY})


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of this name in the Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return re.findall(rf"^{name}\s+(.+)$", joined, flags=re.MULTILINE)


def is_sent_to_the_build(path: str) -> bool:
    """Return what .dockerignore makes of `path`: its last line that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(/.*)?", path):
            sent = line.startswith("!")
    return sent


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the Dockerfile copies into the image, where .dockerignore lets it through."""
    folder = tmp_path_factory.mktemp("image")

    def ignore(directory: str, names: list[str]) -> list[str]:
        inside = Path(directory).relative_to(ROOT)
        return [name for name in names if not is_sent_to_the_build((inside / name).as_posix())]

    for copy in instructions("COPY"):
        *patterns, target = copy.split()
        sources = [path for pattern in patterns for path in ROOT.glob(pattern)]
        sent = [path for path in sources if is_sent_to_the_build(path.name)]
        assert sent, f"COPY {copy} finds nothing"
        for path in sent:
            if path.is_dir():
                shutil.copytree(path, folder / target, ignore=ignore)
            else:
                shutil.copy(path, folder / target)
    return folder


def run_in(
    folder: Path, *command: str, environ: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run Python with `command`, and in the environment of what the tests start."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=service.ENVIRON | (environ or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_image_has_every_module_that_the_service_imports(image: Path) -> None:
    environ = {"DB_URL": NO_DATABASE, "SECRET_KEY": SECRET_KEY, "FLASK_APP": "app"}

    imported = run_in(image, "-c", "import app", environ=environ)
    checked = run_in(image, "-m", "gunicorn", "--check-config", environ=environ)
    command = run_in(image, "-m", "flask", "init-db", "--help", environ=environ)

    assert (imported.returncode, imported.stderr) == (0, "")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert command.returncode == 0


def test_image_lacks_what_only_development_needs(image: Path) -> None:
    assert not (image / "dev").exists()


def test_image_tells_who_starts_it_for_development_what_to_start(image: Path) -> None:
    done = run_in(image, "app.py")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "python app.py is for development, which is not installed here: start gunicorn instead."
    ]


def test_image_of_a_private_checkout_can_be_read_by_the_service(image: Path, tmp_path: Path) -> None:
    code = tmp_path / "app"
    shutil.copytree(image, code)
    for path in [code, *code.rglob("*")]:  # as a umask of 077 makes a checkout
        path.chmod(0o700 if path.is_dir() else 0o600)
    command = instructions("RUN")[-1]

    subprocess.run(["sh", "-c", command], cwd=code, check=True)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in code.rglob("*")}
    assert modes == {0o755, 0o644}
    text = (ROOT / "Dockerfile").read_text()
    assert text.rindex("\nCOPY") < text.index(f"\nRUN {command}") < text.index("\nUSER")


def test_image_has_the_schema(image: Path) -> None:
    assert (image / "schema.sql").read_bytes() == (ROOT / "schema.sql").read_bytes()


@pytest.mark.parametrize(
    "path", [".env", ".git/config", ".data/secret_key", "tests/conftest.py", "auth/__pycache__/tokens.pyc"]
)
def test_build_is_never_sent_what_it_does_not_need(path: str) -> None:
    assert not is_sent_to_the_build(path)


def test_dockerfile_starts_gunicorn_as_the_first_process() -> None:
    # gunicorn.conf.py, which the image has, names the application; a shell would swallow the stop signal.
    assert instructions("CMD") == ['["gunicorn"]']
    assert instructions("ENTRYPOINT") == []


def test_dockerfile_exposes_the_default_port() -> None:
    assert instructions("EXPOSE") == [str(DEFAULTS.port)]


def test_dockerfile_builds_on_a_slim_python_that_can_be_chosen() -> None:
    assert instructions("ARG") == ["PYTHON_VERSION=3.10"]
    assert instructions("FROM") == ["python:${PYTHON_VERSION}-slim"]


def test_dockerfile_installs_the_client_and_no_compiler() -> None:
    packages, requirements, _ = instructions("RUN")

    assert "--no-install-recommends postgresql-client &&" in packages
    assert "rm -rf /var/lib/apt/lists/*" in packages
    assert not re.search("gcc|build-essential|-dev", packages)
    assert "--only-binary=:all:" in requirements


def test_dockerfile_leaves_root_before_it_runs_anything() -> None:
    text = (ROOT / "Dockerfile").read_text()
    (user,) = instructions("USER")

    assert int(user) > 0
    assert f"useradd --uid {user}" in text
    assert text.index("\nUSER") < text.index("\nCMD")


def test_dockerfile_installs_the_requirements_before_it_copies_code() -> None:
    assert instructions("COPY")[0].split()[0] == "requirements.txt"


def test_dockerfile_is_clean_for_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def healthcheck(image: Path, port: str) -> tuple[int, str]:
    """Run the image's health check where PORT is `port`; return its exit status and all that it prints."""
    (line,) = instructions("HEALTHCHECK")
    program, *arguments = json.loads(line.partition("CMD ")[2])
    assert program == "python"
    proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    done = run_in(image, *arguments, environ={"PORT": port} | proxies)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("port", ["{}", "{}\r", '"{}"'], ids=["plain", "CRLF", "quotes"])
def test_healthcheck_passes_while_the_database_is_connected(
    settings: Settings, image: Path, tmp_path: Path, port: str
) -> None:
    environ = {"DB_URL": settings.db_url, "SECRET_KEY": SECRET_KEY}
    with service.running(tmp_path / "log", **environ) as running:
        assert healthcheck(image, port.format(running.port)) == (0, "healthy\n")


def test_healthcheck_without_the_database_says_so_in_one_line(image: Path, tmp_path: Path) -> None:
    with service.running(tmp_path / "log", DB_URL=NO_DATABASE, SECRET_KEY=SECRET_KEY) as running:
        told = healthcheck(image, str(running.port))

    assert told == (1, "unhealthy: The database cannot be reached.\n")


def test_healthcheck_without_the_service_says_so_in_one_line(image: Path) -> None:
    status, told = healthcheck(image, str(service.free_port()))

    assert status == 1
    assert re.fullmatch(r"unhealthy: no answer \(ConnectionRefusedError: .+\)\n", told)


def test_healthcheck_asks_the_default_port_when_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Mock(side_effect=ConnectionRefusedError)
    monkeypatch.setattr(healthcheck_module, "HTTPConnection", connection)
    monkeypatch.setenv("PORT", "")

    with pytest.raises(ConnectionRefusedError):
        healthcheck_module.ask()

    assert connection.call_args.args == ("127.0.0.1", DEFAULTS.port)


def test_healthcheck_is_soon_healthy_for_every_builder() -> None:
    (line,) = instructions("HEALTHCHECK")

    assert "--start-interval" not in line  # which builders before Docker 25 refuse
    (seconds,) = re.findall(r"--interval=(\d+)s", line)
    assert int(seconds) <= 5


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


def filled_in(value: str, **environ: str) -> str:
    """Return a value of docker-compose.yml as Compose passes it on: ${NAME:-default}."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], value)


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
    assert any("sample value" in warning for warning in settings.warnings())


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
    found = re.search(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    assert found
    grace = compose["services"]["user-service"]["stop_grace_period"]

    assert int(grace.removesuffix("s")) > int(found[1])


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_environment")
def test_env_example_as_it_is_gives_the_defaults_and_a_warning(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")

    settings = Settings.from_env({"DB_URL": NO_DATABASE} | read_environment(tmp_path))

    assert replace(settings, secret_key=SECRET_KEY) == DEFAULTS
    assert ["SECRET_KEY is a sample value" in warning for warning in settings.warnings()] == [True]


@pytest.mark.usefixtures("no_environment")
def test_env_example_without_its_comment_signs_still_gives_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[A-Z_]+=)", "", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text)

    settings = Settings.from_env(read_environment(tmp_path))

    assert replace(settings, db_url=NO_DATABASE, secret_key=SECRET_KEY) == DEFAULTS


def test_env_example_names_every_variable_below_a_comment() -> None:
    text = (ROOT / ".env.example").read_text()

    assert set(re.findall(r"^# .*\n#?([A-Z_]+)=", text, re.MULTILINE)) == VARIABLES


def pins(name: str) -> dict[str, str]:
    """Return package and version of every line of a requirements file."""
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", "-r ")):
            package, _, version = line.partition("==")
            found[package.lower().replace("_", "-")] = version
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_exact(name: str) -> None:
    for package, version in pins(name).items():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9]+(\.[0-9]+)+", f"{package}=={version}")


def test_requirements_pin_what_the_packages_pull_in() -> None:
    pinned = set(pins("requirements.txt"))

    for package in pinned:
        for needed in map(Requirement, requires(package) or []):
            if not needed.marker or needed.marker.evaluate({"extra": ""}):
                assert needed.name.lower().replace("_", "-") in pinned, f"{package} needs {needed.name}"
