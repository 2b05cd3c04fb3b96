"""What an authenticator app reads: the key URI, and the QR code that holds it."""

import base64
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from auth.two_factor import key_uri, totp
from auth.two_factor.key_uri import MAX_ACCOUNT_BYTES
from runtime.two_factor_settings import MAX_ISSUER_BYTES
from tests.support import qr_codes

SECRET = bytes(range(totp.SECRET_BYTES))
LONGEST_ISSUER = "\u65e5" * (MAX_ISSUER_BYTES // 3) + "+"
LONGEST_ACCOUNT = "\U0001f600" * 64
MAX_SIDE_MODULES = 101  # version 21 of ISO/IEC 18004

USERS = [
    pytest.param("Streamly", "ada", id="ASCII"),
    pytest.param("Caf\u00e9 & Sons + 100%", "a.b_c-d", id="issuer with blanks and non-ASCII"),
    pytest.param("Streamly", "ada:l\u00f8velace@\u65e5\u672c", id="account with colon and non-ASCII"),
    pytest.param("Streamly", "a" * 50, id="longest username"),
    pytest.param("A/B?c=d#e", "a&b=c/d?e#f%20+g", id="delimiters of a URL"),
    pytest.param(LONGEST_ISSUER, LONGEST_ACCOUNT, id="longest"),
]


def uri_of(issuer: str = "Streamly", account: str = "ada") -> str:
    return key_uri.key_uri(SECRET, issuer=issuer, account=account)


def label_of(uri: str) -> str:
    """Return the label as an app decodes it: %-encoded, a plus sign is a plus sign."""
    return unquote(urlsplit(uri).path.removeprefix("/"), errors="strict")


def parameters_of(uri: str) -> dict[str, str]:
    """Return the parameters as an app decodes them that takes a plus sign for a plus sign."""
    query = urlsplit(uri).query.replace("+", "%2B")
    return dict(parse_qsl(query, strict_parsing=True, errors="strict"))


def test_uri_is_that_of_the_contract() -> None:
    assert uri_of() == (
        "otpauth://totp/Streamly:ada?secret=AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT&issuer=Streamly"
        "&algorithm=SHA1&digits=6&period=30"
    )


@pytest.mark.parametrize(("issuer", "account"), USERS)
def test_uri_is_read_back(issuer: str, account: str) -> None:
    uri = uri_of(issuer, account)

    prefix, _, name = label_of(uri).partition(":")
    parameters = parameters_of(uri)
    assert (urlsplit(uri).scheme, urlsplit(uri).netloc, urlsplit(uri).fragment) == ("otpauth", "totp", "")
    assert prefix == parameters.pop("issuer") == issuer
    assert name == account.replace(":", " ")[: 16 if account == LONGEST_ACCOUNT else None]
    assert base64.b32decode(parameters.pop("secret")) == SECRET
    assert parameters == {"algorithm": "SHA1", "digits": "6", "period": "30"}


@pytest.mark.parametrize(("issuer", "account"), USERS)
def test_uri_has_characters_alone_that_every_app_reads_alike(issuer: str, account: str) -> None:
    uri = uri_of(issuer, account)

    assert uri.isascii()
    assert not set(uri) & set("+ '\"<>")
    assert urlsplit(uri).path.count(":") == 1
    assert "%3A" not in uri


@pytest.mark.parametrize("account", ["", "  ", ":", " : "])
def test_account_that_is_blank_is_named_as_the_issuer(account: str) -> None:
    assert label_of(uri_of(account=account)) == "Streamly:Streamly"


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        pytest.param("a" * MAX_ACCOUNT_BYTES, "a" * MAX_ACCOUNT_BYTES, id="at the limit"),
        pytest.param("a" * 1_000_000, "a" * MAX_ACCOUNT_BYTES, id="huge"),
        pytest.param("a" * 63 + "\u00e9", "a" * 63, id="within a character"),
        pytest.param("\u65e5" * 50, "\u65e5" * 21, id="three bytes each"),
        pytest.param("a" * 63 + " b", "a" * 63, id="before a blank"),
        pytest.param(" ada ", "ada", id="blanks around"),
    ],
)
def test_account_is_cut_off_between_characters(account: str, expected: str) -> None:
    assert label_of(uri_of(account=account)) == f"Streamly:{expected}"


@pytest.mark.parametrize("length", range(21))
def test_secret_as_text_is_base32_without_padding(length: int) -> None:
    text = key_uri.as_text(SECRET[:length])

    assert "=" not in text
    assert base64.b32decode(text + "=" * (-len(text) % 8)) == SECRET[:length]


@pytest.mark.parametrize(("issuer", "account"), USERS)
def test_qr_code_is_read_back_as_the_uri(issuer: str, account: str) -> None:
    uri = uri_of(issuer, account)

    assert qr_codes.read(key_uri.qr_svg(uri)) == uri


def test_qr_code_of_the_longest_uri_has_modules_that_a_camera_sees() -> None:
    modules = qr_codes.drawing(key_uri.qr_svg(uri_of(LONGEST_ISSUER, LONGEST_ACCOUNT))).modules

    assert len(modules) - 2 * key_uri.QUIET_ZONE <= MAX_SIDE_MODULES


def test_svg_takes_the_size_of_its_place() -> None:
    drawing = qr_codes.drawing(key_uri.qr_svg(uri_of()))

    side = len(drawing.modules)
    assert drawing.root.tag == f"{qr_codes.SVG}svg"
    assert drawing.root.attrib == {"viewBox": f"0 0 {side} {side}"}


def test_svg_is_black_on_white_on_every_page() -> None:
    drawing = qr_codes.drawing(key_uri.qr_svg(uri_of()))

    side = len(drawing.modules)
    assert drawing.background.tag == drawing.foreground.tag == f"{qr_codes.SVG}path"
    assert drawing.background.attrib == {"fill": "#fff", "d": f"M0 0h{side}v{side}h-{side}z"}
    assert drawing.foreground.attrib.keys() == {"stroke", "d"}
    assert drawing.foreground.attrib["stroke"] == "#000"


def test_qr_code_has_a_quiet_zone_of_four_modules() -> None:
    modules = qr_codes.drawing(key_uri.qr_svg(uri_of())).modules

    black = {(row, column) for row, line in enumerate(modules) for column in range(len(line)) if line[column]}
    last = len(modules) - 1 - 4
    assert {min(row for row, _ in black), min(column for _, column in black)} == {4}
    assert {max(row for row, _ in black), max(column for _, column in black)} == {last}


def test_svg_is_one_line_that_begins_with_its_element() -> None:
    svg = key_uri.qr_svg(uri_of())

    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    assert "\n" not in svg
