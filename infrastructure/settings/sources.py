"""Reads settings from flags, the environment and ``ridelog.toml``, and checks each value.

Each error message names the origin of the value and describes what is expected instead.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect

from infrastructure.errors import UserError

HIDDEN = ("tokens", "link_key", "payments_secret", "_url", "_bootstrap")
"""Endings of the names of settings whose values no message may show, because they may contain a password."""


def expected(kind: Any) -> str:
    """What a value of this annotated type must be: "a whole number from 0 to 65,535"."""
    info = inspect.type_info(kind)
    given = None
    if isinstance(info, inspect.Metadata):
        given = (info.extra or {}).get("expected")
        info = info.type
    if isinstance(info, inspect.UnionType):
        info = next(one for one in info.types if not isinstance(one, inspect.NoneType))
    if given is not None:
        return str(given)
    if isinstance(info, inspect.LiteralType):
        return f"one of {', '.join(map(str, info.values))}"
    if isinstance(info, inspect.IntType):
        return f"a whole number{_bounds(info.ge, info.le)}"
    if isinstance(info, inspect.CustomType):
        return "the path of a directory"
    return "text that is not empty" if isinstance(info, inspect.StrType) and info.min_length else "text"


def description(kind: Any) -> str:
    """The description of the setting that has this annotated type."""
    info = inspect.type_info(kind)
    schema = (info.extra_json_schema or {}) if isinstance(info, inspect.Metadata) else {}
    return str(schema.get("description", ""))


def misfit(origin: str, name: str, value: object, kind: Any) -> str:
    """The message for a ``value`` from ``origin`` that the setting ``name`` cannot have."""
    given = f'"{value}"' if isinstance(value, str) else str(value)
    fault = "does not fit" if name.endswith(HIDDEN) else f"is {given}"
    return f"{origin} {fault}: {expected(kind)} is expected"


def _bounds(least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    return f" of at least {least:,}" if least is not None else ""


PREFIX = "RIDELOG_"
FOREIGN = (f"{PREFIX}GPS_DATA", f"{PREFIX}TEST_")
"""Variables that only the tests and benchmarks read."""
CLIENT_TOKEN = f"{PREFIX}TOKEN"
"""The token that a client sends: an option of some commands, and not a setting of the server."""


class SettingsError(UserError, ValueError):
    """A setting is unknown or does not fit. The message names the setting, its origin and what is accepted."""


def read_environment(env: Mapping[str, str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the variables. An empty variable counts as not set."""
    found = {
        name: value
        for name, value in env.items()
        if name.startswith(PREFIX) and not name.startswith(FOREIGN) and name != CLIENT_TOKEN and value != ""
    }
    return _checked({name[len(PREFIX) :].lower(): (name, value) for name, value in found.items()}, kinds)


def read_toml(path: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the file, none if it does not exist. Raises SettingsError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; correct or remove it") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    return _checked({key: (f"{key} in {path}", value) for key, value in table.items()}, kinds)


def read_flags(flags: Mapping[str, object], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given. None means that a flag was not given."""
    given = {name: value for name, value in flags.items() if value is not None}
    return _checked({name: (f"--{name.replace('_', '-')}", value) for name, value in given.items()}, kinds)


def _checked(found: Mapping[str, tuple[str, object]], kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _convert(name, origin, value, kinds) for name, (origin, value) in found.items()}


def _convert(name: str, origin: str, value: object, kinds: Mapping[str, Any]) -> Any:
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        hint = f"the closest known one is {_like(origin, close[0])}" if close else "no known one is like it"
        raise SettingsError(f"unknown setting {origin}; {hint}; `python app.py config show` shows them all")
    # A literal of integers rejects text even in lax mode, and an environment has only text.
    matching = [choice for choice in _choices(kinds[name]) if str(choice) == str(value)]
    try:
        return msgspec.convert(matching[0] if matching else value, kinds[name], strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(misfit(origin, name, value, kinds[name])) from error


def _choices(kind: Any) -> tuple[object, ...]:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_args(bare) if get_origin(bare) is Literal else ()


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value).expanduser().absolute()
    raise NotImplementedError(f"no conversion to {kind}")


def _like(origin: str, name: str) -> str:
    if origin.startswith(PREFIX):
        return f"{PREFIX}{name.upper()}"
    return f"--{name.replace('_', '-')}" if origin.startswith("--") else name
