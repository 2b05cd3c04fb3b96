"""The form of a change of the password."""

from tests.support.forms import read_password_change


def test_password_change_with_an_endless_current_password_is_read() -> None:
    body = {"current_password": "x" * 60_000, "new_password": "battery staple"}

    change = read_password_change(body)

    assert (change.current_password, change.new_password) == ("x" * 60_000, "battery staple")
