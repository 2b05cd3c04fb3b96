"""GET /openapi.yaml, /openapi.json and /docs."""

import pytest
import yaml
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from ops import openapi
from tests.support import ROOT, SECRET_KEY

CONTRACTS = [("/openapi.yaml", "application/yaml"), ("/openapi.json", "application/json")]
FILES = {"/openapi.yaml": ROOT / "openapi.yaml", "/openapi.json": ROOT / "ops/openapi.json"}
ORIGIN = "http://localhost:3000"


def without_database() -> FlaskClient:
    settings = Settings(db_url="postgresql://operator@/users?host=/nowhere", secret_key=SECRET_KEY)
    return create_app(settings).test_client()


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return without_database()


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of a service without the wheel of the page."""
    monkeypatch.setattr(openapi, "WHEEL", "a_wheel_that_is_not_installed")
    return without_database()


@pytest.mark.parametrize(("path", "kind"), CONTRACTS)
def test_contract_is_served_as_it_is(client: FlaskClient, path: str, kind: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.mimetype) == (200, kind)
    assert answer.data == FILES[path].read_bytes()


def test_contract_is_the_same_in_both_forms(client: FlaskClient) -> None:
    assert client.get("/openapi.json").get_json() == yaml.safe_load(client.get("/openapi.yaml").text)


@pytest.mark.parametrize(("path", "kind"), CONTRACTS)
def test_contract_is_asked_for_again_with_its_etag(client: FlaskClient, path: str, kind: str) -> None:
    first = client.get(path)

    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    other = client.get(path, headers={"If-None-Match": '"another"'})

    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (other.status_code, other.data) == (200, first.data)


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        pytest.param("If-None-Match", "{}", 304, id="the tag"),
        pytest.param("If-None-Match", 'W/{}, "another"', 304, id="a weak one in a list"),
        pytest.param("If-None-Match", " * ", 304, id="any"),
        pytest.param("If-None-Match", '"another", "third"', 200, id="others"),
        pytest.param("If-None-Match", "", 200, id="none"),
        pytest.param("If-Modified-Since", "Mon, 01 Jan 2035 00:00:00 GMT", 200, id="a date"),
        pytest.param("If-Modified-Since", f"Mon, 01 Jan {9**30} 00:00:00 GMT", 200, id="no date of this era"),
        pytest.param("Range", "bytes=0-1", 200, id="a part"),
    ],
)
def test_contract_is_sent_again_when_it_is_another(
    client: FlaskClient, header: str, value: str, status: int
) -> None:
    tag = client.get("/openapi.yaml").headers["ETag"]

    answer = client.get("/openapi.yaml", headers={header: value.format(tag)})

    assert answer.status_code == status
    assert answer.headers["ETag"] == tag
    assert "Date" not in answer.headers
    assert bool(answer.data) == (status == 200)


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.json"])
@pytest.mark.parametrize("origin", [None, ORIGIN, "https://elsewhere.example", "null"])
def test_contract_may_be_read_from_anywhere_without_credentials(
    client: FlaskClient, path: str, origin: str | None
) -> None:
    headers = {"Origin": origin} if origin else {}
    first = client.get(path, headers=headers)

    for answer in (first, client.get(path, headers=headers | {"If-None-Match": first.headers["ETag"]})):
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.json"])
def test_contract_lets_a_preflight_pass_from_anywhere(client: FlaskClient, path: str) -> None:
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}

    answer = client.options(path, headers=headers)

    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert answer.headers["Access-Control-Allow-Methods"] == "GET"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/docs", "/docs/init.js", "/health/live"])
def test_nothing_else_may_be_read_from_anywhere(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Origin": "https://elsewhere.example"})

    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_docs_loads_nothing_that_the_service_does_not_serve(client: FlaskClient) -> None:
    page = client.get("/docs")

    loaded = [part.split('"')[0] for part in page.text.replace("href=", "src=").split('src="')[1:]]
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert len(loaded) == 4
    assert [client.get(path).status_code for path in loaded] == [200] * 4
    assert "<script>" not in page.text


def test_docs_runs_no_script_but_its_own(client: FlaskClient) -> None:
    (policy,) = client.get("/docs").headers.getlist("Content-Security-Policy")

    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("asset", [*openapi.ASSETS, "init.js"])
def test_docs_asset_is_asked_for_again_with_its_etag(client: FlaskClient, asset: str) -> None:
    first = client.get(f"/docs/{asset}")

    again = client.get(f"/docs/{asset}", headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")


@pytest.mark.parametrize(
    "asset", ["swagger-ui.js", "VERSION", "..%2f__init__.py", "../__init__.py", "%00", "x"]
)
def test_docs_serves_no_other_file(client: FlaskClient, asset: str) -> None:
    answer = client.get(f"/docs/{asset}")

    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/docs", *(f"/docs/{asset}" for asset in (*openapi.ASSETS, "init.js"))])
def test_docs_without_its_wheel_is_404(production: FlaskClient, path: str) -> None:
    answer = production.get(path)

    assert answer.status_code == 404
    assert answer.get_json() == {"error": "There is nothing at this address.", "code": "not_found"}


def test_contract_is_served_without_the_wheel(production: FlaskClient) -> None:
    assert production.get("/openapi.json").status_code == 200


def test_page_keeps_the_authorisation_over_a_reload(client: FlaskClient) -> None:
    assert "persistAuthorization: true" in client.get("/docs/init.js").text
