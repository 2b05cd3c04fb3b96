"""The container image: what the Dockerfile puts into it, how it starts, and its health check."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from auth.mail.messages import FOLDER
from config import Settings
from ops import healthcheck as healthcheck_module
from tests.support import ROOT, SECRET_KEY, service
from tests.support.dockerfile import instructions

NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"
DEFAULTS = Settings.from_env({"DB_URL": NO_DATABASE, "SECRET_KEY": SECRET_KEY})


def is_sent_to_the_build(path: str) -> bool:
    """Return whether .dockerignore lets `path` through: its last line that matches decides."""
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
    """A folder with the files that the Dockerfile copies and .dockerignore lets through."""
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
    """Run Python with `command` in `folder`, with `environ` and nothing else of this environment."""
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
    for path in [code, *code.rglob("*")]:  # a checkout after a umask of 077
        path.chmod(0o700 if path.is_dir() else 0o600)
    command = instructions("RUN")[-1]

    subprocess.run(["sh", "-c", command], cwd=code, check=True)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in code.rglob("*")}
    assert modes == {0o755, 0o644}
    text = (ROOT / "Dockerfile").read_text()
    assert text.rindex("\nCOPY") < text.index(f"\nRUN {command}") < text.index("\nUSER")


@pytest.mark.parametrize(
    "name",
    [
        *["schema.sql", "runtime/common_passwords.txt", "runtime/common_passwords.LICENSE"],
        *[path.relative_to(ROOT).as_posix() for path in sorted(FOLDER.iterdir())],
    ],
)
def test_image_has_what_is_no_code(image: Path, name: str) -> None:
    assert (image / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.parametrize(
    "path", [".env", ".git/config", ".data/secret_key", "tests/conftest.py", "auth/__pycache__/tokens.pyc"]
)
def test_build_is_never_sent_what_it_does_not_need(path: str) -> None:
    assert not is_sent_to_the_build(path)


def test_dockerfile_starts_gunicorn_as_the_first_process() -> None:
    # The gunicorn.conf.py of the image names the application. A shell would swallow the stop signal.
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
    """Run the image's health check with this PORT; return its exit status and its output."""
    (line,) = instructions("HEALTHCHECK")
    program, *arguments = json.loads(line.partition("CMD ")[2])
    assert program == "python"
    proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    done = run_in(image, *arguments, environ={"PORT": port} | proxies)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("port", ["{}", "{}\r", '"{}"'], ids=["plain", "CRLF", "quotes"])
def test_healthcheck_passes_while_the_database_is_connected(
    settings: Settings, image: Path, tmp_path: Path, port: str
) -> None:
    environ = {"DB_URL": settings.db_url, "SECRET_KEY": SECRET_KEY}
    with service.running(tmp_path / "log", **environ) as running:
        assert healthcheck(image, port.format(running.port)) == (0, "healthy\n")


@pytest.mark.slow
def test_healthcheck_without_the_database_says_so_in_one_line(image: Path, tmp_path: Path) -> None:
    with service.running(tmp_path / "log", DB_URL=NO_DATABASE, SECRET_KEY=SECRET_KEY) as running:
        result = healthcheck(image, str(running.port))

    assert result == (1, "unhealthy: The database cannot be reached.\n")


def test_healthcheck_without_the_service_says_so_in_one_line(image: Path) -> None:
    status, output = healthcheck(image, str(service.free_port()))

    assert status == 1
    assert re.fullmatch(r"unhealthy: no answer \(ConnectionRefusedError: .+\)\n", output)


def test_healthcheck_with_a_port_that_is_no_number_says_so_in_one_line(image: Path) -> None:
    status, output = healthcheck(image, "http")

    assert status == 1
    assert output.startswith("unhealthy: no answer (ValueError: ")
    assert output.count("\n") == 1


def test_healthcheck_asks_the_default_port_when_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Mock(side_effect=ConnectionRefusedError)
    monkeypatch.setattr(healthcheck_module, "HTTPConnection", connection)
    monkeypatch.setenv("PORT", "")

    _, status = healthcheck_module.ask()

    assert status == 1
    assert connection.call_args.args == ("127.0.0.1", DEFAULTS.port)


def test_healthcheck_is_soon_healthy_for_every_builder() -> None:
    (line,) = instructions("HEALTHCHECK")

    assert "--start-interval" not in line  # builders before Docker 25 refuse it
    (seconds,) = re.findall(r"--interval=(\d+)s", line)
    assert int(seconds) <= 5
