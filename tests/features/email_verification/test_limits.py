"""LIMIT_MAIL_REQUESTS: how many mails to new addresses one client may cause."""

from runtime.settings import Rate
from tests.support import PASSWORD
from tests.support.actor import Actor, ClientOf
from tests.support.mails import mail_settings
from tests.support.throttling import client_at, codes
from tests.support.verification import change_email


def test_change_of_the_email_is_limited_for_each_address(client_of: ClientOf) -> None:
    mail = mail_settings(limit_mail_requests=Rate(2, "2h"))
    app = client_of(mail=mail).application
    ada = Actor(client_at(app)).register()

    answers = [change_email(ada, f"ada{n}@example.com") for n in range(3)]

    assert codes(answers) == ["", "", "rate_limited"]
    assert answers[1].get_json() == ada.me().get_json()
    assert ada.change_profile(username="countess", current_password=PASSWORD).status_code == 200
    assert ada.change_profile(email="ada@example.com").status_code == 200
