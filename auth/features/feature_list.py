"""GET /features: what this service offers, so that a frontend knows what to draw."""

from typing import Any

from auth.blueprint import bp
from auth.services import current_auth
from config import Settings


@bp.get("/features")
def list_features() -> dict[str, Any]:
    """Answer which features are on, for anybody. Reads the settings alone."""
    return offered(current_auth().settings)


def offered(settings: Settings) -> dict[str, Any]:
    """Return the answer for some settings. A feature is on if its group of settings is not None."""
    has_mail = settings.mail is not None
    return {
        "email_verification": has_mail,
        "password_reset": has_mail,
        "two_factor": settings.two_factor is not None,
        "avatars": False,
        "oauth": [],
        "password_min_length": settings.password_min_length,
    }
