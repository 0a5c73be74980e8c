"""Represents a key set's `meta` file: its name, its purpose, and the status of each version. It does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ... import _json
from ...errors import KeySetError
from .encoding import bool_field, int_field, parse_object, text_field, word_field
from .keyinfo import ACTIVE, INACTIVE, PRIMARY, KeyPurpose, KeyStatus, KeyType

__all__ = ["KeyMetadata", "KeyVersion"]


@dataclass(frozen=True)
class KeyVersion:
    """One key of a set.

    Attributes:
        number: its number, which is also its file's name.
        status: what it may be used for.
        exportable: a member that Keyczar wrote but never read.
    """

    number: int
    status: KeyStatus
    exportable: bool = False

    @classmethod
    def of(cls, value: Any) -> KeyVersion:
        """Read one member of `versions`."""
        if not isinstance(value, dict):
            raise KeySetError("a version in it is not an object")
        return cls(
            int_field(value, "versionNumber"), word_field(value, "status", KeyStatus), bool_field(value, "exportable")
        )


@dataclass(frozen=True)
class KeyMetadata:
    """What is known about a key set without its keys.

    Attributes:
        name: any text.
        purpose: what the set may be used for.
        type: the type of each of its keys.
        encrypted: whether its key files are encrypted with another key set.
        versions: its versions, of which at most one is primary.
    """

    name: str
    purpose: KeyPurpose
    type: KeyType
    encrypted: bool = False
    versions: tuple[KeyVersion, ...] = ()

    def __post_init__(self) -> None:
        if self.purpose not in self.type.purposes:
            raise KeySetError(f"keys of type {self.type.value} cannot be used for {self.purpose.value}")
        numbers = [version.number for version in self.versions]
        if len(set(numbers)) < len(numbers):
            raise KeySetError("two of its versions have the same number")
        if [version.status for version in self.versions].count(PRIMARY) > 1:
            raise KeySetError("more than one of its versions is primary")

    @classmethod
    def parse(cls, text: str | bytes) -> KeyMetadata:
        """Parse a `meta` file.

        Raises:
            KeySetError: the file does not describe a key set.
        """
        value = parse_object(text)
        versions = value.get("versions")
        if not isinstance(versions, list):
            raise KeySetError("its member versions is not an array")
        return cls(
            text_field(value, "name"),
            word_field(value, "purpose", KeyPurpose),
            word_field(value, "type", KeyType),
            bool_field(value, "encrypted"),
            tuple(KeyVersion.of(each) for each in versions),
        )

    def __str__(self) -> str:
        """The text of a `meta` file."""
        versions = [
            {"versionNumber": each.number, "status": each.status.value, "exportable": each.exportable}
            for each in self.versions
        ]
        members = {"name": self.name, "purpose": self.purpose.value, "type": self.type.value}
        return _json.dumps({**members, "encrypted": self.encrypted, "versions": versions}).decode("utf-8")

    @property
    def primary(self) -> KeyVersion | None:
        """The version that signs and encrypts, if there is one."""
        return next((version for version in self.versions if version.status is PRIMARY), None)

    def version(self, number: int) -> KeyVersion:
        """Find a version by its number.

        Raises:
            KeySetError: the version does not exist.
        """
        for version in self.versions:
            if version.number == number:
                return version
        raise KeySetError(f"the key set has no version {number}")

    def added(self, status: KeyStatus, *, encrypted: bool) -> KeyMetadata:
        """Add a version at the end; if it is primary, the version that was primary becomes active."""
        if self.versions and encrypted is not self.encrypted:
            raise KeySetError("a key set is encrypted as a whole: give the set that encrypts it exactly if it is")
        number = 1 + max((version.number for version in self.versions), default=0)
        older = self._without_primary() if status is PRIMARY else self.versions
        return replace(self, encrypted=encrypted, versions=(*older, KeyVersion(number, status)))

    def promoted(self, number: int) -> KeyMetadata:
        """Make an inactive version active, or an active one primary; the version that was primary becomes active."""
        status = self.version(number).status
        if status is PRIMARY:
            raise KeySetError(f"version {number} is primary: it cannot be promoted")
        if status is INACTIVE:
            return self._with(number, ACTIVE)
        return replace(self, versions=self._without_primary())._with(number, PRIMARY)

    def demoted(self, number: int) -> KeyMetadata:
        """Make a primary version active, which leaves no primary version, or an active one inactive."""
        status = self.version(number).status
        if status is INACTIVE:
            raise KeySetError(f"version {number} is inactive: it cannot be demoted, only revoked")
        return self._with(number, ACTIVE if status is PRIMARY else INACTIVE)

    def revoked(self, number: int) -> KeyMetadata:
        """Remove an inactive version."""
        if self.version(number).status is not INACTIVE:
            raise KeySetError(f"version {number} is not inactive: only an inactive version can be revoked")
        return replace(self, versions=tuple(each for each in self.versions if each.number != number))

    def _with(self, number: int, status: KeyStatus) -> KeyMetadata:
        changed = (replace(each, status=status) if each.number == number else each for each in self.versions)
        return replace(self, versions=tuple(changed))

    def _without_primary(self) -> tuple[KeyVersion, ...]:
        return tuple(replace(each, status=ACTIVE) if each.status is PRIMARY else each for each in self.versions)
