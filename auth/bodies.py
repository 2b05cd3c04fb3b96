"""The body of a request: bytes to a JSON object, in one call."""

import json
from functools import partial
from typing import Any, NoReturn

from flask import request

from auth.errors import ApiError
from auth.fields import UNSTORABLE
from runtime.limits import MAX_BODY_BYTES

MAX_KEYS = 1000  # at all levels; 64 KiB have room for 20,000 objects, which take the longest


def json_body() -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises ApiError `unsupported_media_type`, `bad_request`, `body_too_large` or `invalid_json`.
    """
    if _media_type() != "application/json":
        raise ApiError("unsupported_media_type")
    try:
        raw = request.get_data(cache=False)
    except OSError:  # of the development server: the client closed the connection
        raise ApiError("bad_request") from None
    if len(raw) > MAX_BODY_BYTES:
        raise ApiError("body_too_large")
    return parse_object(raw)


def optional_json_body() -> dict[str, Any]:
    """Return the JSON object in the body. Returns {} if there is no body. Raises as json_body does."""
    has_body = request.content_length or request.headers.get("Transfer-Encoding")
    return json_body() if has_body else {}


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that `raw` holds. Raises ApiError `invalid_json`, which names the mistake.

    Stricter than `json.loads`: NaN, Infinity and duplicate keys are refused (RFC 8259).
    """
    keys: list[str] = []
    unique_keys = partial(_unique_keys, keys)
    try:
        parsed = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=unique_keys)
    except UnicodeDecodeError:
        raise ApiError("invalid_json", sentence="The request body is not UTF-8 text.") from None
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise ApiError("invalid_json", sentence=f"The request body is not valid JSON at {place}.") from None
    except RecursionError:
        raise ApiError("invalid_json", sentence="The request body is nested too deeply.") from None
    except ValueError:  # int() refuses more than 4300 digits
        raise ApiError("invalid_json", sentence="The request body holds a number that is too long.") from None
    if UNSTORABLE.search("".join(keys)):
        raise ApiError(
            "invalid_json", sentence="The request body has a key with a character that is not text."
        )
    if not isinstance(parsed, dict):
        raise ApiError("invalid_json")
    return parsed


def _unique_keys(keys: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of `pairs`, and add its keys to `keys`: one search over all keys is the fastest."""
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise ApiError("invalid_json", sentence="The request body has a key twice.")
    keys.extend(parsed or [""])  # an empty object takes as long as one with a key
    if len(keys) > MAX_KEYS:
        raise ApiError("invalid_json", sentence=f"The request body has more than {MAX_KEYS} keys.")
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ApiError("invalid_json", sentence=f"The request body holds {name}, which is not JSON.")


def _media_type() -> str:
    """Return the type of the body without parameters. Werkzeug would take milliseconds for a long list."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
