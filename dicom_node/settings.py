"""Settings: one TOML file, each key of which an environment variable may override."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as MalformedEnvironment

from dicom_node.settings_sections import (
    Data,
    Delivery,
    Destination,
    Log,
    Node,
    Priors,
    Quality,
    Reports,
    Retention,
    Scoring,
    Section,
    Sender,
    Status,
    Tls,
    Trigger,
    Workers,
)
from storage.sqlite_url import sqlite_url

# Of environment variables: what they begin with, and what stands between section and key.
_PREFIX, _BELOW = "FACENORM_", "__"

# Where pydantic's own words are about Python.
_ADVICE = {
    "model_type": "this is a table, not a single value; write its keys below a heading in brackets",
    "tuple_type": "this is a list; write it in brackets, a list of tables below [[...]] headings",
    "path_type": "input should be a path; put it into quotes",
}

DATABASE_FILE = "facenorm.sqlite"
"""In the data folder, where no other database is set."""


class SettingsError(Exception):
    """The settings cannot be used; the text has one line per wrong key and says what to do."""


class Settings(BaseSettings):
    """Every setting of the node; `load_settings` makes one."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=_PREFIX,
        env_nested_delimiter=_BELOW,
        hide_input_in_errors=True,
    )

    node: Node = Node()
    tls: Tls = Tls()
    data: Data = Data()
    trigger: Trigger = Trigger()
    scoring: Scoring = Scoring()
    workers: Workers = Workers()
    quality: Quality = Quality()
    delivery: Delivery = Delivery()
    senders: tuple[Sender, ...] = ()
    destinations: tuple[Destination, ...] = ()
    status: Status = Status()
    retention: Retention = Retention()
    priors: Priors = Priors()
    reports: Reports = Reports()
    log: Log = Log()

    @model_validator(mode="after")
    def _destinations_differ(self) -> Self:
        titles = [destination.ae_title for destination in self.destinations]
        if len(set(titles)) < len(titles):
            raise ValueError("destinations: every destination needs an ae_title of its own")
        return self

    @model_validator(mode="after")
    def _reports_have_one_place_to_go(self) -> Self:
        # A request of storage commitment is known by its AE title, whatever host it came from.
        titles = Counter(sender.ae_title for sender in self.senders)
        for sender in self.senders:
            if sender.commitment_port and titles[sender.ae_title] > 1:
                raise ValueError(
                    f"senders: {sender.ae_title} has a commitment_port, and so must stand in one entry only"
                )
        return self

    @model_validator(mode="after")
    def _certificates_where_there_is_tls(self) -> Self:
        if self.uses_tls:
            missing = [
                name for name in ("certificate", "private_key", "trusted") if not getattr(self.tls, name)
            ]
            if missing:
                raise ValueError(f"tls: {', '.join(missing)}: needed where some tls is true")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether any association is secured, one to the node or to a peer: then certificates are needed."""
        return self.node.tls or self.priors.tls or any(one.tls for one in self.destinations)

    @property
    def database_url(self) -> str:
        """The database's URL: the one that was set, else SQLite in the data folder."""
        return self.data.database_url or sqlite_url(self.data.folder / DATABASE_FILE)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content comes in as arguments."""
        return env_settings, init_settings


def load_settings(config: Path | None) -> Settings:
    """Return the settings from the TOML file `config` and the environment.

    FACENORM_NODE__PORT=4242 overrides `port` of `[node]`; a list such as FACENORM_SENDERS is JSON.
    Without a file the defaults and the environment count.

    Raises:
        SettingsError: the file cannot be read, or a key or value is wrong.

    """
    _check_environment()
    written = _read(config)
    _check_sections(written, config)
    try:
        return Settings(**written)
    except ValidationError as error:
        lines = "\n".join(f"  {_explained(detail)}" for detail in error.errors(include_input=False))
        raise SettingsError(f"{_origin(config)} cannot be used:\n{lines}") from None
    except MalformedEnvironment:
        raise SettingsError(
            "an environment variable FACENORM_... holds a list or section that is not valid JSON; "
            'write for example FACENORM_SENDERS=\'[{"ae_title": "CAMERA"}]\''
        ) from None


def differing_keys(one: Settings, other: Settings) -> list[str]:
    """Return the keys whose values differ, such as "node.port" or "senders", in order."""
    ours, theirs = one.model_dump(), other.model_dump()
    keys = []
    for section, values in ours.items():
        if isinstance(values, dict):
            keys += [f"{section}.{key}" for key in values if values[key] != theirs[section][key]]
        elif values != theirs[section]:
            keys.append(section)
    return sorted(keys)


def _check_environment() -> None:
    """Name a variable whose section does not exist: nothing else would, and what it sets would be missing.

    Names without a section are not looked at, for others may begin with FACENORM_, too.
    """
    known = list(Settings.model_fields)
    mistakes = []
    for name in sorted(os.environ):
        section, separator, _ = name.upper().removeprefix(_PREFIX).partition(_BELOW)
        if name.upper().startswith(_PREFIX) and separator and section.lower() not in known:
            near = difflib.get_close_matches(section.lower(), known, n=1)
            meant = near and f"{_PREFIX}{near[0].upper()}{_BELOW}"
            hint = f"did you mean {meant}...?" if meant else f"known: {', '.join(known)}"
            mistakes.append(f"  {name}: there is no such section; {hint}")
    if mistakes:
        raise SettingsError("the environment cannot be used:\n" + "\n".join(mistakes))


def _check_sections(written: dict[str, Any], config: Path | None) -> None:
    """Name a value in the place of a section: a variable with a key of the section would take its place."""
    sections = [name for name, field in Settings.model_fields.items() if isinstance(field.default, Section)]
    mistakes = [name for name in sections if not isinstance(written.get(name, {}), dict)]
    if mistakes:
        lines = "\n".join(f"  {name}: {_ADVICE['model_type']}" for name in mistakes)
        raise SettingsError(f"{_origin(config)} cannot be used:\n{lines}")


def _read(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        # Editors on Windows begin a file with a mark that TOML does not know.
        return tomllib.loads(config.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(
            f"{config}: {error.strerror}; give --config the path of a readable TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config} is not valid TOML: {error}") from None


def _origin(config: Path | None) -> str:
    return f"{config} (with the FACENORM_... environment variables)" if config else "the environment"


def _explained(detail: ErrorDetails) -> str:
    location = detail["loc"]
    key = ".".join(str(part) for part in location) or "settings"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1)
        known = ", ".join(_known_keys(location[:-1]))
        return f"{key}: there is no such key; " + (f"did you mean {near[0]}?" if near else f"known: {known}")
    if detail["type"] == "missing":
        return f"{key}: is required; add it"
    if advice := _ADVICE.get(detail["type"]):
        return f"{key}: {advice}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}; correct it"


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    lists: dict[str, type[BaseModel]] = {"senders": Sender, "destinations": Destination}
    if not section:
        return list(Settings.model_fields)
    name = str(section[0])
    model = lists.get(name) or Settings.model_fields[name].annotation
    return list(getattr(model, "model_fields", {}))
