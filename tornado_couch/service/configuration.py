"""A service's configuration from a file, the environment and the command line, read with pydantic-settings.

    class Settings(Configuration):
        greeting: str = "hello"
        api_key: SecretStr | None = None

    def make_app(settings: Settings) -> Application: …

`tornado-couch serve orchard.app:make_app --config orchard.toml` then reads `greeting` from the file. The variable
TORNADO_COUCH_GREETING overrides it, and `--set greeting=…` overrides both.
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
from .server import HttpServer, check_http_server
from .worker import EventLoop, ServeOptions, check_event_loop

__all__ = ["PREFIX", "Configuration", "ConfigurationError", "Sources", "configuration_class"]

C = TypeVar("C", bound="Configuration")

PREFIX = "TORNADO_COUCH_"
"""The prefix of the environment variables."""


class ConfigurationError(ValueError):
    """The configuration is not valid; the message names what is wrong, but reveals none of its values."""


def _separate(value: Any) -> Any:
    """Split a text with several values, as in an environment variable: separated by commas or white space."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _checked(urls: tuple[str, ...]) -> tuple[str, ...]:
    for each in urls or ("",):
        base(each)
    return urls


_Seconds = Annotated[float, Field(gt=0)]


class Configuration(BaseSettings):
    """The settings of every service; derive from it to add a service's own settings.

    Attributes:
        url: the URL of CouchDB, or of several nodes of a cluster. User and password in it become `user`, `password`.
        user: CouchDB's user.
        password: the user's password.
        ca: a file of certificates to trust, in PEM, instead of the system's.
        verify: False to trust any certificate.
        database: the database's name.
        max_connections: how many connections to CouchDB each process may open.
        cookie_secret: authenticates cookies and cursors; must be the same wherever the service runs.
        log_level: the lowest level of messages that are logged.
        access_log: log every request with its full address, and not only those that fail with 5xx.
        host, port, processes, xheaders, proxies, start_seconds, drain_seconds, stop_seconds, idle_seconds,
            body_seconds, event_loop, http_server, certificate, key, reload: see `ServeOptions`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    url: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separate), AfterValidator(_checked)] = (
        "http://127.0.0.1:5984",
    )
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
    http_server: Annotated[HttpServer, AfterValidator(check_http_server)] = ServeOptions.http_server
    certificate: Path | None = None
    key: Path | None = None
    reload: bool = ServeOptions.reload

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first: command line, environment, files of secrets, the file."""
        return init_settings, env_settings, file_secret_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _without_credentials(cls, values: Any) -> Any:
        """Move user and password out of the URLs, so that the URLs can be shown."""
        given = _separate(values.get("url", ())) if isinstance(values, dict) else ()
        try:
            bases = [base(each) for each in given if isinstance(each, str)]
        except ValueError:
            return values  # which the URLs' own check refuses
        credentials = {each.credentials for each in bases} - {None}
        if not bases:
            return values
        if len(credentials) > 1 or (credentials and (values.get("user") or values.get("password"))):
            raise ValueError("user and password must be given only once")
        user, password = next(iter(credentials), None) or (values.get("user"), values.get("password"))
        return {**values, "url": tuple(each.url for each in bases), "user": user, "password": password}

    def couch(self, observer: Observer | None = None) -> Couch:
        """Create a client of the CouchDB server.

        Raises:
            ValueError: there is a password but no user.
            OSError: the certificates cannot be read.
        """
        if self.password is not None and self.user is None:
            raise ConfigurationError("there is a password but no user")
        secret = self.password.get_secret_value() if self.password else ""
        auth = None if self.user is None else BasicAuth(self.user, secret)
        options: dict[str, Any] = {"ca": self.ca, "verify": self.verify, "max_connections": self.max_connections}
        return Couch(self.url, auth=auth, observer=observer, **options)

    def serve_options(self) -> ServeOptions:
        """Return the options for `serve`."""
        return ServeOptions(**{field.name: getattr(self, field.name) for field in fields(ServeOptions)})


class Sources:
    """The sources of a configuration.

    Args:
        file: a TOML file; None for no file.
        secrets: a folder of files, each named like an environment variable and containing its value.
        given: the values of the command line, by the settings' names, as text.

    Raises:
        ConfigurationError: the file or folder does not exist, or a secret is on the command line.
    """

    def __init__(
        self, file: Path | None = None, secrets: Path | None = None, given: Mapping[str, str] | None = None
    ) -> None:
        if file is not None and not file.is_file():
            raise ConfigurationError(f"the file {file} does not exist")
        if secrets is not None and not secrets.is_dir():
            raise ConfigurationError(f"the folder {secrets} does not exist")
        self._files: Any = {"toml_file": file, "secrets_dir": secrets}
        self._given = dict(given or {})

    def read(self, kind: type[C], *, strict: bool = True) -> C:
        """Read the configuration.

        Args:
            kind: its class.
            strict: False to ignore settings that the class does not have.

        Raises:
            ConfigurationError: something is not valid; the message lists every fault.
        """
        self._refuse_secrets(kind)
        try:
            return self._located(kind, strict)(**_decoded(kind, self._given))
        except ValidationError as error:
            faults = (self._fault(kind, each) for each in error.errors(include_input=False))
            raise ConfigurationError("; ".join(faults)) from None
        except (SettingsError, ValueError) as error:
            # The file is not valid TOML; we do not quote its text.
            raise ConfigurationError(str(error)) from None

    def origins(self, kind: type[Configuration]) -> dict[str, str]:
        """Return the source of each value, by its name."""
        return {**dict.fromkeys(kind.model_fields, "default"), **self._given_names(kind)}

    def _given_names(self, kind: type[Configuration]) -> dict[str, str]:
        """Return the source of each setting that a source has, whether the class knows it or not."""
        located = self._located(kind, strict=True)
        found: dict[str, str] = {}
        for origin, source in (
            ("file", TomlConfigSettingsSource(located)),
            ("secrets", SecretsSettingsSource(located)),
            ("environment", EnvSettingsSource(located)),
        ):
            found.update(dict.fromkeys(source(), origin))
        return {**found, **dict.fromkeys(self._given, "command line")}

    def _fault(self, kind: type[Configuration], error: Any) -> str:
        """Say what is wrong with a setting, and where it was given."""
        unknown = error["type"] == "extra_forbidden"
        said = "there is no such setting" if unknown else str(error["msg"]).removeprefix("Value error, ")
        if not error["loc"]:
            return said
        origin = self._given_names(kind).get(str(error["loc"][0]))
        return f"{'.'.join(map(str, error['loc']))}{f', from the {origin}' if origin else ''}: {said}"

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
    """Return the class that annotates a function's first argument; by default `Configuration`."""
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
    """Decode the command line's values; lists and objects are in JSON."""
    found: dict[str, Any] = {}
    for name, text in given.items():
        found[name] = text
        if name in kind.model_fields and text[:1] in ("[", "{"):
            try:
                found[name] = json.loads(text)
            except ValueError:
                raise ConfigurationError(f"{name}: the value is not valid JSON") from None
    return found


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in typing.get_args(annotation)
