"""Turns every failure of a request into the one error body, and logs what the operator has to know."""

import logging

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from auth.errors import REGISTRY, ApiError
from auth.passwords import Busy
from db import DatabaseUnavailable, PoolExhausted, SchemaError, StatementRefused
from runtime.limits import RETRY_AFTER_SECONDS

log = logging.getLogger("auth")

_CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 500: "internal_error"}
_CHALLENGE = {
    "token_expired": 'Bearer error="invalid_token"',
    "token_invalid": 'Bearer error="invalid_token"',
    "refresh_invalid": 'Bearer error="invalid_token"',
    "refresh_reused": 'Bearer error="invalid_token"',
}
_MALFORMED = (400, 413, 415)


def init_app(app: Flask) -> None:
    """Turn every failure of `app` into the error body."""
    app.register_error_handler(ApiError, _refuse)
    app.register_error_handler(Busy, _refuse_hash)
    app.register_error_handler(PoolExhausted, _refuse_connection)
    app.register_error_handler(DatabaseUnavailable, _refuse_without_database)
    app.register_error_handler(SchemaError, _refuse_without_schema)
    app.register_error_handler(StatementRefused, _refuse_statement)
    app.register_error_handler(HTTPException, _refuse_http)


def _refuse(exc: ApiError) -> Response:
    if exc.log_message:
        log.log(exc.log_level, "%s", exc.log_message)
    elif exc.status in _MALFORMED:
        log.warning("malformed_request code=%s fields=%s", exc.code, ",".join(exc.fields or ()))
    elif exc.status == 401:
        log.warning("authentication_failed code=%s", exc.code)
    return _respond(exc)


def _refuse_hash(_exc: Busy) -> Response:
    log.warning("hash_slots_busy: too many logins at once")
    return _respond(ApiError("busy"))


def _refuse_connection(exc: PoolExhausted) -> Response:
    log.error("pool_exhausted: %s; raise DB_POOL_SIZE or find the slow statements", exc)
    return _respond(ApiError("busy"))


def _refuse_without_database(exc: DatabaseUnavailable) -> Response:
    log.error("database_unavailable: %s; check that PostgreSQL runs and what DB_URL names", exc)
    return _respond(ApiError("database_unavailable"))


def _refuse_without_schema(exc: SchemaError) -> Response:
    log.error("schema_not_applied: %s", exc)
    return _respond(ApiError("database_unavailable"))


def _refuse_statement(exc: StatementRefused) -> Response:
    log.error("database_refused %s", exc)
    return _respond(ApiError("internal_error"))


def _refuse_http(exc: HTTPException) -> Response:
    """Answer a refusal of Flask itself with the error body. An exception that no handler knows is a 500."""
    code = _CODE_OF_STATUS.get(exc.code or 500, "bad_request")
    if REGISTRY[code].status in _MALFORMED:
        log.warning("malformed_request code=%s", code)
    response = _respond(ApiError(code))
    for name, value in exc.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _respond(exc: ApiError) -> Response:
    status = exc.status
    response = Response(f"{json.dumps(exc.body())}\n", status, mimetype="application/json")
    if status == 401:
        response.headers["WWW-Authenticate"] = _CHALLENGE.get(exc.code, "Bearer")
    if retry_after := RETRY_AFTER_SECONDS if status == 503 else exc.retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response
