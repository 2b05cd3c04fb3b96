"""Declaring settings as fields of a frozen dataclass, and reading them from variables of the environment.

One declaration holds everything that the code and the documentation know of a setting. The module knows no
setting of this service.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

import click

from runtime import settings

_KEY = "declaration"  # in the metadata of a field


class ConfigError(click.ClickException):
    """Every bad variable with the rule that it breaks. The message never repeats a value.

    A ClickException: the `flask` command prints it as a sentence and exits with status 1.
    """

    def __init__(self, problems: Mapping[str, str], doubts: Sequence[str] = ()) -> None:
        self.problems = dict(problems)
        broken_rules = "; ".join(f"{name} {rule}" for name, rule in self.problems.items())
        super().__init__(" ".join([f"The service cannot start: {broken_rules}.", *doubts]))


@dataclass(frozen=True)
class Computed:
    """A default that depends on the machine or on other settings. words: the default in the documentation."""

    compute: Callable[[], Any]
    words: str


@dataclass(frozen=True)
class Declaration:
    """One setting.

    kind: turns the text into the value; raises ValueError with the rule that the text breaks.
    help: what the setting is for, in sentences, for the documentation. group: the heading above it there.
    default: MISSING if the setting is required. example: the value that .env.example shows instead.
    is_exact: whether whitespace and quotes around the text belong to the value. is_rule: whether the service
    must not start if the setting has no effect, because somebody relies on it.
    other_names: variables by which other services know the setting.
    """

    kind: Callable[[str], Any]
    help: str
    default: Any
    group: str = ""
    variable: str = ""
    field: str = ""
    example: str = ""
    is_secret: bool = False
    is_exact: bool = False
    is_rule: bool = False
    other_names: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        return self.default is MISSING

    def text_in(self, environ: Mapping[str, str]) -> str:
        """Return the text of the variable in `environ`, "" if the variable is unset or blank."""
        raw = environ.get(self.variable, "")
        text = settings.bare(raw)
        return raw if self.is_exact and text else text


@dataclass(frozen=True)
class OptionalGroup:
    """The settings of a feature that may be off.

    switch: the variable of the group that decides. If it is required, the group is on as soon as it is set;
    else its value is a boolean.
    """

    title: str
    settings_class: type
    switch: str
    field: str = ""

    def is_on(self, environ: Mapping[str, str]) -> bool:
        """Return whether the feature is on. A bad value counts as on: `read` reports it."""
        [switch] = [each for each in declarations(self.settings_class) if each.variable == self.switch]
        text = switch.text_in(environ)
        if not text:
            return not switch.is_required and bool(switch.default)
        try:
            return switch.is_required or bool(switch.kind(text))
        except ValueError:
            return True


def setting(
    kind: Callable[[str], Any],
    *,
    help: str,
    group: str = "",
    default: Any = MISSING,
    name: str = "",
    example: str = "",
    secret: bool = False,
    exact: bool = False,
    rule: bool = False,
    other_names: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field for one setting; see Declaration. name: the field's name in capitals if empty.

    secret: the value is left out of the repr of the dataclass. rule: see is_rule of Declaration.
    """
    declaration = Declaration(
        kind,
        help=help,
        default=default,
        group=group,
        variable=name,
        example=example,
        is_secret=secret,
        is_exact=exact,
        is_rule=rule,
        other_names=other_names,
    )
    metadata = {_KEY: declaration}
    if isinstance(default, Computed):
        return field(default_factory=default.compute, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def optional_group(title: str, settings_class: type, *, switch: str) -> Any:
    """Return a dataclass field for the settings of a feature that may be off.

    switch: a variable of `settings_class`, see OptionalGroup. While the feature is off, the field is None,
    and the other variables are ignored; a rule that is not ignored is a problem. While it is on, the required
    ones have to be set.
    """
    group = OptionalGroup(title, settings_class, switch)
    default = settings_class if group.is_on({}) else type(None)
    return field(default_factory=default, metadata={_KEY: group})


def declarations(settings_class: type) -> tuple[Declaration, ...]:
    """Return every setting of the dataclass in the order of its fields, optional groups included."""
    flat: list[Declaration] = []
    for member in _members(settings_class):
        if isinstance(member, Declaration):
            flat.append(member)
        else:
            grouped = declarations(member.settings_class)
            flat.extend(replace(declaration, group=member.title) for declaration in grouped)
    return tuple(flat)


def read(
    settings_class: type, environ: Mapping[str, str], *, missing: str = "is required"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that `environ` sets, by field, and the problem of every bad variable, by variable.

    missing: the problem of a required variable that is unset.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for member in _members(settings_class):
        if isinstance(member, OptionalGroup):
            values[member.field], group_problems = _read_group(member, environ)
            problems |= group_problems
            continue
        text = member.text_in(environ)
        try:
            if text:
                values[member.field] = member.kind(text)
            elif member.is_required:
                problems[member.variable] = missing
        except ValueError as rule:
            problems[member.variable] = str(rule)
    return values, problems


def unused(settings_class: type, environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that is set although its group is off: somebody may rely on it.

    A rule for which `read` reports a problem is left out.
    """
    groups = [member for member in _members(settings_class) if isinstance(member, OptionalGroup)]
    return [
        f"{declaration.variable} has no effect: {group.switch} is {'off' if text else 'not set'}."
        for group in groups
        for text in [settings.bare(environ.get(group.switch, ""))]
        if not group.is_on(environ)
        for declaration in declarations(group.settings_class)
        if declaration.variable != group.switch
        and declaration.text_in(environ)
        and (not declaration.is_rule or _is_default(declaration, environ))
    ]


def _is_default(declaration: Declaration, environ: Mapping[str, str]) -> bool:
    """Return whether a setting has its default, because it is unset or because it says the same."""
    text = declaration.text_in(environ)
    try:
        return not text or bool(declaration.kind(text) == declaration.default)
    except ValueError:
        return False


def _read_group(group: OptionalGroup, environ: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
    """Return the settings of an optional group and its problems. Returns None if it is off or bad."""
    if not group.is_on(environ):
        rules = [each for each in declarations(group.settings_class) if each.is_rule]
        broken = [each.variable for each in rules if not _is_default(each, environ)]
        return None, dict.fromkeys(broken, f"has no effect without {group.switch}")
    values, problems = read(group.settings_class, environ, missing=f"is required with {group.switch}")
    return (None if problems else group.settings_class(**values)), problems


def _members(settings_class: type) -> Iterator[Declaration | OptionalGroup]:
    """Yield the settings and the optional groups of a dataclass, with the names of their fields."""
    for item in fields(settings_class):
        member = item.metadata.get(_KEY)
        if isinstance(member, Declaration):
            yield replace(member, field=item.name, variable=member.variable or item.name.upper())
        elif isinstance(member, OptionalGroup):
            yield replace(member, field=item.name)
