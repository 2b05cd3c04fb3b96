"""The variables of the process environment and of a `.env`, and names in `.env` that look like a slip.

The module knows no variable of this service: the callers pass the declarations.
"""

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from runtime import settings
from runtime.declarations import ConfigError, Declaration

MIN_SIMILARITY = 0.8  # of a slip to the name that is meant; 1 is equality


def read(path: Path, known: Sequence[Declaration]) -> dict[str, str]:
    """Return all variables of the `.env` at `path`, overridden by the known ones of the process environment.

    `${...}` is not expanded: a secret may contain it. Variables without a value are left out. Raises
    ConfigError.
    """
    of_process = {
        declaration.variable: os.environ[declaration.variable]
        for declaration in known
        if declaration.text_in(os.environ)
    }
    return _read_file(path) | of_process


def slips(names: Iterable[str], known: Sequence[Declaration], foreign_words: Iterable[str]) -> list[str]:
    """Return a sentence for each name that is unknown but perhaps meant for this service.

    Such a name resembles a known one, or begins with the same word. foreign_words: first words that other
    programs use as well.
    """
    variables = {declaration.variable for declaration in known}
    first_words = {variable.partition("_")[0] for variable in variables} - set(foreign_words)
    return [
        _doubt(name, known)
        for name in names
        if name not in variables and (name.partition("_")[0] in first_words or _meant(name, known))
    ]


def _doubt(name: str, known: Sequence[Declaration]) -> str:
    meant = _meant(name, known)
    return f"{name} in .env is no variable of this service" + (f": is {meant} meant?" if meant else ".")


def _meant(name: str, known: Sequence[Declaration]) -> str | None:
    """Return the variable that `name` is probably a slip of. Returns None if `name` resembles none."""
    for declaration in known:
        if name in declaration.other_names:
            return declaration.variable
    variables = [declaration.variable for declaration in known]
    return next(iter(get_close_matches(name.upper(), variables, n=1, cutoff=MIN_SIMILARITY)), None)


def _read_file(path: Path) -> dict[str, str]:
    """Return the variables that have a value in a `.env`, {} if there is no file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except (FileNotFoundError, IsADirectoryError):  # some people keep a virtual environment under this name
        return {}
    except UnicodeDecodeError:
        raise ConfigError({str(path): "must be UTF-8 text"}) from None
    except OSError as exc:
        raise ConfigError({str(path): f"cannot be read ({exc.strerror})"}) from None
    bindings = list(parse_stream(StringIO(text)))
    if bad_lines := [_line_number(binding) for binding in bindings if binding.error]:
        raise ConfigError({f"{path}, line {', '.join(bad_lines)},": "cannot be read: NAME=value is expected"})
    return {
        binding.key: binding.value
        for binding in bindings
        if binding.key and binding.value and settings.bare(binding.value)
    }


def _line_number(binding: Binding) -> str:
    """Return the line of a statement in a `.env`. The parser counts the empty lines before it as its own."""
    text = binding.original.string
    return str(binding.original.line + text[: len(text) - len(text.lstrip())].count("\n"))
