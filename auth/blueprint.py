"""The auth blueprint and its address. Each feature registers its routes on it."""

from flask import Blueprint

bp = Blueprint("auth", __name__, url_prefix="/api/auth")
