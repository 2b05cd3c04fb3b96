"""The auth blueprint and its address. Each feature registers its routes on it."""

from flask import Blueprint

# cli_group=None: the commands of features stand beside those of Flask.
bp = Blueprint("auth", __name__, url_prefix="/api/auth", cli_group=None)
