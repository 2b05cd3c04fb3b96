"""Codes of authenticator apps: the vectors of the RFCs, clocks that are off, and codes that were accepted."""

import pytest

from auth.two_factor import totp

RFC_SECRET = b"12345678901234567890"
NOW = 1_700_000_010  # the begin of a time step
STEP = NOW // totp.STEP_SECONDS
TWIN_SECRET = (645469).to_bytes(
    totp.SECRET_BYTES, "big"
)  # found by search: STEP - 1 and STEP + 1 have one code


def matching_step(typed: str, *, now: float = NOW, window: int = 1, after: int = -1) -> int | None:
    return totp.matching_step(RFC_SECRET, typed, now=now, window=window, after=after)


def code_at(seconds: float) -> str:
    """Return what an app shows whose clock says so."""
    return totp.code(RFC_SECRET, int(seconds) // totp.STEP_SECONDS)


@pytest.mark.parametrize(
    ("counter", "expected"),
    [
        *[(0, "755224"), (1, "287082"), (2, "359152"), (3, "969429"), (4, "338314")],
        *[(5, "254676"), (6, "287922"), (7, "162583"), (8, "399871"), (9, "520489")],
    ],
)
def test_code_is_that_of_rfc_4226_appendix_d(counter: int, expected: str) -> None:
    assert totp.code(RFC_SECRET, counter) == expected


@pytest.mark.parametrize(
    ("seconds", "eight_digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_code_is_that_of_rfc_6238_appendix_b(seconds: int, eight_digits: str) -> None:
    expected = eight_digits[-totp.DIGITS :]

    assert code_at(seconds) == expected
    assert matching_step(expected, now=seconds, window=0) == seconds // 30


def test_secret_is_as_long_as_rfc_4226_recommends() -> None:
    assert totp.SECRET_BYTES * 8 == 160


# Steps by which the code of the app is late (-) or early (+).
CLOCKS_OFF = [
    *[("begin", 0, seconds, steps) for seconds, steps in [(-29, -1), (-31, -2), (-61, -3)]],
    *[("begin", 0, seconds, steps) for seconds, steps in [(0, 0), (29, 0), (31, 1), (61, 2)]],
    *[("middle", 15, seconds, steps) for seconds, steps in [(-29, -1), (-31, -1), (-61, -2)]],
    *[("middle", 15, seconds, steps) for seconds, steps in [(0, 0), (29, 1), (31, 1), (61, 2)]],
    *[("end", 29.9, seconds, steps) for seconds, steps in [(-29, 0), (-31, -1), (-61, -2)]],
    *[("end", 29.9, seconds, steps) for seconds, steps in [(0, 0), (29, 1), (31, 2), (61, 3)]],
]


@pytest.mark.parametrize("window", [0, 1, 2])
@pytest.mark.parametrize(
    ("place", "after_begin", "seconds_off", "steps_off"),
    CLOCKS_OFF,
    ids=[f"{place} {seconds:+} s" for place, _, seconds, _ in CLOCKS_OFF],
)
def test_clock_that_is_off_is_accepted_within_the_window(
    place: str, after_begin: float, seconds_off: int, steps_off: int, window: int
) -> None:
    now = NOW + after_begin
    expected = STEP + steps_off if abs(steps_off) <= window else None

    assert matching_step(code_at(now + seconds_off), now=now, window=window) == expected


def test_code_works_once() -> None:
    step = matching_step(code_at(NOW))

    assert step is not None
    assert matching_step(code_at(NOW), after=step) is None


def test_code_of_the_next_step_works_after_an_accepted_one() -> None:
    assert matching_step(code_at(NOW + 30), after=STEP) == STEP + 1


@pytest.mark.parametrize("earlier", [-2, -1, 0, 1])
def test_code_of_an_earlier_step_fails_after_a_later_one(earlier: int) -> None:
    typed = totp.code(RFC_SECRET, STEP + earlier)

    assert matching_step(typed, window=2) == STEP + earlier
    assert matching_step(typed, window=2, after=STEP + 2) is None


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(STEP - 2, STEP + 1, id="both are free"),
        pytest.param(STEP - 1, STEP + 1, id="the earlier one is used"),
        pytest.param(STEP, STEP + 1, id="the earlier one is over"),
        pytest.param(STEP + 1, None, id="both are used"),
    ],
)
def test_of_two_steps_with_one_code_the_later_one_counts(after: int, expected: int | None) -> None:
    typed = totp.code(TWIN_SECRET, STEP - 1)

    assert typed == totp.code(TWIN_SECRET, STEP + 1)
    assert totp.matching_step(TWIN_SECRET, typed, now=NOW, window=1, after=after) == expected


@pytest.mark.parametrize(
    "form",
    ["{0}{1}", "{0} {1}", " {0}\t{1}\n", "{0}\u00a0{1}", "{0}\u2009{1}\u3000", " " * 26 + "{0}{1}"],
    ids=["plain", "blank", "blanks around", "no-break space", "thin space", "as long as can be"],
)
def test_blanks_in_a_code_do_not_count(form: str) -> None:
    code = code_at(NOW)

    assert matching_step(form.format(code[:3], code[3:])) == STEP


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blanks alone"),
        pytest.param("{code:.5}", id="five digits"),
        pytest.param("0{code}", id="seven digits"),
        pytest.param("{code}{code}", id="twice"),
        pytest.param("-{code}", id="sign"),
        pytest.param("{code}\0", id="NUL"),
        pytest.param("{code}\ud800", id="lone surrogate"),
        pytest.param("{code}" + " " * 26 + "x", id="more behind many blanks"),
        pytest.param("{code}" + " " * 27, id="too long"),
        pytest.param("{code}" + " " * 1_000_000, id="huge"),
    ],
)
def test_other_text_is_no_code(form: str) -> None:
    assert matching_step(form.format(code=code_at(NOW))) is None


@pytest.mark.parametrize("zero", ["\u0660", "\u06f0", "\uff10"], ids=["Arabic", "Persian", "full width"])
def test_digits_outside_of_ascii_are_no_code(zero: str) -> None:
    typed = "".join(chr(ord(zero) + int(digit)) for digit in code_at(NOW))

    assert typed.isdecimal()
    assert matching_step(typed) is None


def test_zeros_at_the_begin_of_a_code_count() -> None:
    step = next(step for step in range(10_000) if int(totp.code(RFC_SECRET, step)) < 10_000)
    typed = totp.code(RFC_SECRET, step)

    assert len(typed) == totp.DIGITS
    assert matching_step(typed, now=step * 30) == step
    assert matching_step(typed.lstrip("0"), now=step * 30) is None


@pytest.mark.parametrize(
    ("now", "expected"), [(0, 0), (-30, 0), (-31, None), (-(10**9), None), (253402300799, 8446743359)]
)
def test_no_moment_breaks_the_check(now: int, expected: int | None) -> None:
    typed = totp.code(RFC_SECRET, max(0, now // totp.STEP_SECONDS))

    assert matching_step(typed, now=now) == expected
