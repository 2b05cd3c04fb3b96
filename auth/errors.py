"""Every failure that a client can see: the registry of codes, and the one error body."""

import logging
from dataclasses import dataclass

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from config import RETRY_AFTER_SECONDS
from db import SchemaError
from runtime.faults import DatabaseUnavailable, StatementRefused
from runtime.pool import PoolExhausted

log = logging.getLogger("auth")


@dataclass(frozen=True)
class Failure:
    """What one code means: an HTTP status and a sentence for a person."""

    status: int
    sentence: str


REGISTRY = {
    "bad_request": Failure(400, "The request could not be understood."),
    "invalid_json": Failure(400, "The request body must be a JSON object."),
    "validation_failed": Failure(400, "Some fields are not valid."),
    "invalid_credentials": Failure(401, "Invalid email/username or password"),
    "token_missing": Failure(401, "A bearer token is required."),
    "token_expired": Failure(401, "The token has expired, please log in again."),
    "token_invalid": Failure(401, "The token is not valid, please log in again."),
    "refresh_invalid": Failure(401, "The session is over, please log in again."),
    "refresh_reused": Failure(401, "The session was ended for your safety, please log in again."),
    "wrong_password": Failure(403, "The current password is not right."),
    "not_found": Failure(404, "There is nothing at this address."),
    "method_not_allowed": Failure(405, "This address does not support that method."),
    "username_taken": Failure(409, "This username is already taken."),
    "email_taken": Failure(409, "This email address is already registered."),
    "account_in_use": Failure(409, "The account cannot be deleted while other services still use it."),
    "body_too_large": Failure(413, "The request body is larger than 64 KiB."),
    "unsupported_media_type": Failure(415, "The request body must be sent as application/json."),
    "internal_error": Failure(500, "Something went wrong on our side."),
    "busy": Failure(503, "The service is busy, please try again in a moment."),
    "database_unavailable": Failure(503, "The service is unavailable, please try again in a moment."),
}

_CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 500: "internal_error"}
_CHALLENGE = {
    "token_expired": 'Bearer error="invalid_token"',
    "token_invalid": 'Bearer error="invalid_token"',
    "refresh_invalid": 'Bearer error="invalid_token"',
    "refresh_reused": 'Bearer error="invalid_token"',
}
_MALFORMED = (400, 413, 415)


class ApiError(Exception):
    """A request that is refused.

    code: a key of REGISTRY. sentence: one that says more than the registry's. fields: a sentence for
    every bad field, which together also make the sentence of a `validation_failed`. log_message: what the
    operator reads, with ids but no secrets.
    """

    def __init__(
        self,
        code: str,
        *,
        sentence: str = "",
        fields: dict[str, str] | None = None,
        log_message: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.sentence = sentence or " ".join((fields or {}).values()) or REGISTRY[code].sentence
        self.fields = fields
        self.log_message = log_message

    def body(self) -> dict[str, object]:
        """Return the error body: {"error", "code"}, and "fields" where there are some."""
        told: dict[str, object] = {"error": self.sentence, "code": self.code}
        return told | {"fields": self.fields} if self.fields else told


def init_app(app: Flask) -> None:
    """Turn every failure of `app` into the error body."""
    app.register_error_handler(ApiError, _refuse)
    app.register_error_handler(PoolExhausted, _refuse_when_busy)
    app.register_error_handler(DatabaseUnavailable, _refuse_without_database)
    app.register_error_handler(SchemaError, _refuse_without_schema)
    app.register_error_handler(StatementRefused, _refuse_statement)
    app.register_error_handler(HTTPException, _refuse_http)


def _refuse(exc: ApiError) -> Response:
    status = REGISTRY[exc.code].status
    if status in _MALFORMED:
        log.warning("malformed_request code=%s fields=%s", exc.code, ",".join(exc.fields or ()))
    elif status == 401:
        log.warning("%s", exc.log_message or f"authentication_failed code={exc.code}")
    elif exc.log_message:
        log.warning("%s", exc.log_message)
    return _respond(exc)


def _refuse_when_busy(exc: PoolExhausted) -> Response:
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
    """Answer what Flask itself refuses (and, as a 500, what nobody caught) with its headers but our body."""
    code = _CODE_OF_STATUS.get(exc.code or 500, "bad_request")
    if REGISTRY[code].status in _MALFORMED:
        log.warning("malformed_request code=%s", code)
    response = _respond(ApiError(code))
    for name, value in exc.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _respond(exc: ApiError) -> Response:
    status = REGISTRY[exc.code].status
    response = Response(f"{json.dumps(exc.body())}\n", status, mimetype="application/json")
    if status == 401:
        response.headers["WWW-Authenticate"] = _CHALLENGE.get(exc.code, "Bearer")
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
