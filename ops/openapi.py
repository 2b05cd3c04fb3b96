"""The contract for machines, /openapi.yaml and /openapi.json, and /docs, a page that shows and sends calls.

The page comes from a wheel that only development installs. Production lacks it, and answers /docs with 404.
"""

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from flask import Flask, Response, request
from flask_cors import cross_origin

from auth.errors import ApiError

FOLDER = Path(__file__).parent
WHEEL = "flask_swagger_ui"
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

# No inline script, and nothing from another origin. Swagger UI's style sheet holds its icons as `data:` URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>User Service</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/init.js"></script>
"""
SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  defaultModelsExpandDepth: 0,
});
"""


def init_app(app: Flask) -> None:
    """Add the contract and the page that shows it to `app`."""
    app.add_url_rule(
        "/openapi.yaml", "openapi_yaml", _contract(FOLDER.parent / "openapi.yaml", "application/yaml")
    )
    app.add_url_rule("/openapi.json", "openapi_json", _contract(FOLDER / "openapi.json", "application/json"))
    folder = page_folder()

    @app.get("/docs")
    def docs() -> Response:
        """Show a developer the page on which every call can be tried. Answers 404 without its wheel."""
        if folder is None:
            raise ApiError("not_found")
        page = Response(PAGE, mimetype="text/html", headers={"Content-Security-Policy": POLICY})
        page.cache_control.no_cache = True
        return page

    @app.get("/docs/<asset>")
    def docs_asset(asset: str) -> Response:
        """Answer a file of the page, or 404."""
        if folder and asset == "init.js":
            return _revalidated(SCRIPT.encode(), "text/javascript")
        if folder is None or asset not in ASSETS:
            raise ApiError("not_found")
        return _revalidated((folder / asset).read_bytes(), ASSETS[asset])


def page_folder() -> Path | None:
    """Return the folder with the files of the page. Returns None if its wheel is not installed."""
    spec = find_spec(WHEEL)
    return Path(spec.origin).with_name("dist") if spec and spec.origin else None


def _contract(path: Path, mimetype: str) -> Callable[[], Response]:
    """Return a view of the file at `path`, which any origin may read without credentials."""
    text = path.read_bytes()

    @cross_origin(origins="*", methods=["GET"], send_wildcard=True, vary_header=False)
    def view() -> Response:
        """Answer the contract for machines, for anybody; 304 if the client has it."""
        return _revalidated(text, mimetype)

    return view


def _revalidated(text: bytes, mimetype: str) -> Response:
    """Return an answer with `text`, or 304 if the client has it (RFC 9110 section 13.1.2).

    Werkzeug's own way takes a tenth of a second for a long list of tags, and answers a date beyond the year
    9999 with 500. A search for the quoted tag needs no parsing; no other tag can contain it.
    """
    tag = f'"{hashlib.sha256(text).hexdigest()[:32]}"'
    tags = request.headers.get("If-None-Match", "")
    status = 304 if tags.strip() == "*" or tag in tags else 200
    answer = Response(text, status, mimetype=mimetype, headers={"ETag": tag})
    answer.cache_control.no_cache = True
    return answer
