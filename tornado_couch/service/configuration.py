"""What a service is told from outside: a file, the environment, the command line; by pydantic-settings.

    class Settings(Configuration):
        greeting: str = "hello"
        api_key: SecretStr | None = None

    def make_app(settings: Settings) -> Application: …

`tornado-couch serve orchard.app:make_app --config orchard.toml` then reads the file's `greeting`, which the variable
TORNADO_COUCH_GREETING outdoes, and `--set greeting=…` outdoes both.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ..couch import BasicAuth, Couch, Observer
from ..couch.names import base
from .event_loop import EventLoop, check_event_loop
from .worker import ServeOptions

__all__ = ["PREFIX", "Configuration", "ConfigurationError", "Sources", "configuration_class"]

C = TypeVar("C", bound="Configuration")

PREFIX = "TORNADO_COUCH_"
"""What the environment variables begin with."""


class ConfigurationError(ValueError):
    """The configuration is not valid; the message names what is wrong, and has none of its values."""


def _separate(value: Any) -> Any:
    """Several in one text, as an environment variable has them: separated by commas or space."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


_Seconds = Annotated[float, Field(gt=0)]


class Configuration(BaseSettings):
    """The settings of every service; derive from it to add a service's own.

    Attributes:
        url: where CouchDB is; of a cluster several nodes. User and password in it become `user` and `password`.
        user: CouchDB's user.
        password: the user's.
        ca: a file of certificates to trust, in PEM, instead of the system's.
        verify: False to believe any certificate.
        database: the database's name.
        max_connections: to CouchDB, of each process.
        cookie_secret: authenticates cookies and cursors; the same wherever the service runs.
        log_level: from which level on messages are logged.
        access_log: log every request with its whole address, and not only those that fail with 5xx.
        host, port, processes, xheaders, proxies, start_seconds, drain_seconds, stop_seconds, idle_seconds,
            body_seconds, event_loop: see `ServeOptions`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    url: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separate)] = ("http://127.0.0.1:5984",)
    user: str | None = None
    password: SecretStr | None = None
    ca: Path | None = None
    verify: bool = True
    database: str | None = None
    max_connections: Annotated[int, Field(ge=1)] = 100
    cookie_secret: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = False

    host: str = ServeOptions.host
    port: Annotated[int, Field(ge=0, le=65535)] = ServeOptions.port
    processes: Annotated[int, Field(ge=0, le=1024)] = ServeOptions.processes
    xheaders: bool = ServeOptions.xheaders
    proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_separate)] = ()
    start_seconds: _Seconds = ServeOptions.start_seconds
    drain_seconds: Annotated[float, Field(ge=0)] = ServeOptions.drain_seconds
    stop_seconds: _Seconds = ServeOptions.stop_seconds
    idle_seconds: _Seconds = ServeOptions.idle_seconds
    body_seconds: _Seconds = ServeOptions.body_seconds
    event_loop: Annotated[EventLoop, AfterValidator(check_event_loop)] = ServeOptions.event_loop

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, the strongest first: command line, environment, files of secrets, the file."""
        return init_settings, env_settings, file_secret_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _without_credentials(cls, values: Any) -> Any:
        """Take user and password out of the URLs, so that these can be shown."""
        given = _separate(values.get("url", ())) if isinstance(values, dict) else ()
        bases = [base(each) for each in given if isinstance(each, str)]
        credentials = {each.credentials for each in bases} - {None}
        if not bases:
            return values
        if len(credentials) > 1 or (credentials and (values.get("user") or values.get("password"))):
            raise ValueError("user and password have to be said once")
        user, password = next(iter(credentials), None) or (values.get("user"), values.get("password"))
        return {**values, "url": tuple(each.url for each in bases), "user": user, "password": password}

    def couch(self, observer: Observer | None = None) -> Couch:
        """A client of the server.

        Raises:
            ValueError: there is a password and no user.
            OSError: the certificates cannot be read.
        """
        if self.password is not None and self.user is None:
            raise ConfigurationError("there is a password and no user")
        secret = self.password.get_secret_value() if self.password else ""
        auth = None if self.user is None else BasicAuth(self.user, secret)
        options: dict[str, Any] = {"ca": self.ca, "verify": self.verify, "max_connections": self.max_connections}
        return Couch(self.url, auth=auth, observer=observer, **options)

    def serve_options(self) -> ServeOptions:
        """How to serve."""
        return ServeOptions(**{field.name: getattr(self, field.name) for field in fields(ServeOptions)})


class Sources:
    """Where a configuration comes from.

    Args:
        file: in TOML; None for none.
        secrets: a folder of files, each named as an environment variable would be, and with its value.
        given: what the command line says, by the settings' names, as text.

    Raises:
        ConfigurationError: there is no such file or folder, or a secret is on the command line.
    """

    def __init__(
        self, file: Path | None = None, secrets: Path | None = None, given: Mapping[str, str] | None = None
    ) -> None:
        if file is not None and not file.is_file():
            raise ConfigurationError(f"there is no file {file}")
        if secrets is not None and not secrets.is_dir():
            raise ConfigurationError(f"there is no folder {secrets}")
        self._files: Any = {"toml_file": file, "secrets_dir": secrets}
        self._given = dict(given or {})

    def read(self, kind: type[C], *, strict: bool = True) -> C:
        """The configuration.

        Args:
            kind: its class.
            strict: False to leave out what the class does not know.

        Raises:
            ConfigurationError: something is not valid; every fault is named.
        """
        self._refuse_secrets(kind)
        try:
            return self._located(kind, strict)(**_decoded(kind, self._given))
        except ValidationError as error:
            raise ConfigurationError("; ".join(map(_fault, error.errors(include_input=False)))) from None
        except (SettingsError, ValueError) as error:
            # A file that is no TOML; its text is not quoted.
            raise ConfigurationError(str(error)) from None

    def origins(self, kind: type[Configuration]) -> dict[str, str]:
        """Where each value comes from, by its name."""
        located = self._located(kind, strict=True)
        found = dict.fromkeys(kind.model_fields, "default")
        for origin, source in (
            ("file", TomlConfigSettingsSource(located)),
            ("secrets", SecretsSettingsSource(located)),
            ("environment", EnvSettingsSource(located)),
        ):
            found.update(dict.fromkeys(source().keys() & found.keys(), origin))
        return {**found, **dict.fromkeys(self._given, "command line")}

    def _located(self, kind: type[C], strict: bool) -> type[C]:
        config = {**self._files, "extra": "forbid" if strict else "ignore"}
        return typing.cast("type[C]", type(kind.__name__, (kind,), {"model_config": config, "__module__": __name__}))

    def _refuse_secrets(self, kind: type[Configuration]) -> None:
        for name in self._given:
            if name in kind.model_fields and _is_secret(kind.model_fields[name].annotation):
                raise ConfigurationError(
                    f"{name} is a secret, and every user of this machine can read a command line: set"
                    f" {PREFIX}{name.upper()} in the environment, or write it in a file"
                )


def configuration_class(target: Any) -> type[Configuration]:
    """The class that a function takes as its first argument, by its annotation; else `Configuration`."""
    if not callable(target) or inspect.isclass(target):
        return Configuration
    try:
        hints = typing.get_type_hints(inspect.unwrap(target))
        names = list(inspect.signature(target).parameters)
    except (TypeError, ValueError, NameError):
        return Configuration
    found = hints.get(names[0]) if names else None
    return found if inspect.isclass(found) and issubclass(found, Configuration) else Configuration


def _decoded(kind: type[Configuration], given: Mapping[str, str]) -> dict[str, Any]:
    """The command line's values; lists and objects in JSON."""
    found: dict[str, Any] = {}
    for name, text in given.items():
        found[name] = text
        if name in kind.model_fields and text[:1] in ("[", "{"):
            try:
                found[name] = json.loads(text)
            except ValueError:
                raise ConfigurationError(f"{name}: this is not JSON") from None
    return found


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in typing.get_args(annotation)


def _fault(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
