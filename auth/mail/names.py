"""What a mail may say of a user and of a device. Pure.

Attack: somebody registers the address of a stranger, with an advertisement for a name. The mail to that
address would carry the advertisement under the reputation of this service. So only what looks like a name is
shown.
"""

import re
import unicodedata

MAX_NAME_CHARACTERS = 40
MAX_USERNAME_CHARACTERS = 30
MAX_USERNAME_DIGITS = 4  # a year
MAX_USER_AGENT_CHARACTERS = 500

# One to four words. A word has letters of any script, each with at most four marks, apostrophes and hyphens
# between them, and an abbreviation of up to three letters may end with a dot. The text is that of _kinds().
_WORD = r"-?am{0,4}(?:-?am{0,4})*-?|am{0,4}(?:am{0,4}){0,2}\."
_NAME = re.compile(rf"(?:{_WORD})(?: (?:{_WORD})){{0,3}}")
_USERNAME = re.compile(r"[A-Za-z0-9]+(?:[_-]+[A-Za-z0-9]+){0,3}")  # mail programs make a link of word.word
_LINK = re.compile(r"www|h(?:tt|xx)ps?|ftp|\bcom\b|dot ?com")
_JOINS = frozenset("'-\u2018\u2019\u2010\u2011")
# Unicode counts these as letters or marks. The first look like a dot or a colon, the others like nothing.
_LOOKALIKES = frozenset("\ua4f8\ua4f9\ua4fa\ua4fb\ua4fc\ua4fd\ua78f\u318d\u1427\u02d0\u02d1\U0001d16d")
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
)
_REFUSED = _LOOKALIKES | _INVISIBLE

# The first entry that a user agent has counts: Edge calls itself Chrome and Safari as well, Android calls
# itself Linux.
_BROWSERS = {
    **dict.fromkeys(("Edg/", "EdgA/", "EdgiOS/", "Edge/"), "Edge"),
    **dict.fromkeys(("OPR/", "OPiOS/", "OPT/"), "Opera"),
    "SamsungBrowser/": "Samsung Internet",
    **dict.fromkeys(("Firefox/", "FxiOS/"), "Firefox"),
    **dict.fromkeys(("Chrome/", "CriOS/"), "Chrome"),
    "Safari/": "Safari",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "CrOS": "ChromeOS",
    "Windows": "Windows",
    **dict.fromkeys(("Macintosh", "Mac OS X"), "macOS"),
    "Linux": "Linux",
}


def greeting_name(first_name: str | None) -> str:
    """Return a first name as a mail may show it. Returns "" if it could be an advertisement."""
    name = _composed(first_name or "")
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(_kinds(name)):
        return ""
    return "" if _LINK.search(unicodedata.normalize("NFKC", name).casefold()) else name


def shown_username(username: str | None) -> str:
    """Return a username as a mail may show it. Returns "" if it could be an advertisement."""
    name = username or ""
    has_few_digits = sum(map(str.isdigit, name)) <= MAX_USERNAME_DIGITS
    if len(name) > MAX_USERNAME_CHARACTERS or not _USERNAME.fullmatch(name) or not has_few_digits:
        return ""
    return "" if _LINK.search(re.sub("[_-]+", " ", name.lower())) else name


def device_name(user_agent: str) -> str:
    """Return the browser and the system that a user agent names, such as "Firefox on Windows".

    Returns "" if both are unknown. The text of a client is never shown.
    """
    text = user_agent[:MAX_USER_AGENT_CHARACTERS]
    browser = next((name for part, name in _BROWSERS.items() if part in text), "")
    system = next((name for part, name in _SYSTEMS.items() if part in text), "")
    return " on ".join(filter(None, [browser, system]))


def _composed(text: str) -> str:
    """Return a text in NFC, with single blanks in the place of wide and repeated ones. Line ends stay."""
    return unicodedata.normalize("NFC", re.sub(r"[ \u00a0\u3000]+", " ", text).strip(" "))


def _kinds(text: str) -> str:
    """Return the kind of each character: "a" letter, "m" mark, "-" join, blank, dot, and "?" for others."""
    return "".join(map(_kind, text))


def _kind(character: str) -> str:
    if character in " .":
        return character
    if character in _JOINS:
        return "-"
    if character in _REFUSED:
        return "?"
    category = unicodedata.category(character)
    if category in ("Mn", "Mc"):
        return "m"
    return "a" if category[0] == "L" else "?"
