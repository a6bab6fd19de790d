"""Rejections of the registry, with the error codes of Confluent's registry."""

from __future__ import annotations


class RegistryRefusal(Exception):
    """A rejected request. ``code``: Confluent's error code, whose first three digits are the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Incompatible(Exception):
    """A new version violates the compatibility level of its subject."""


def unknown_subject(subject: str) -> RegistryRefusal:
    return RegistryRefusal(40401, f"Subject '{subject}' not found.")


def unknown_version(version: int | None) -> RegistryRefusal:
    return RegistryRefusal(40402, f"Version {-1 if version is None else version} not found.")


def unknown_schema() -> RegistryRefusal:
    return RegistryRefusal(40403, "Schema not found")


def soft_deleted(subject: str, version: int | None = None) -> RegistryRefusal:
    code, what = (40404, "") if version is None else (40406, f" Version {version}")
    return RegistryRefusal(code, f"Subject '{subject}'{what} was soft deleted; permanent=true deletes it permanently")


def not_soft_deleted(subject: str, version: int | None = None) -> RegistryRefusal:
    code, what = (40405, "") if version is None else (40407, f" Version {version}")
    return RegistryRefusal(code, f"Subject '{subject}'{what} was not deleted first before being permanently deleted")


def no_level_of_its_own(subject: str) -> RegistryRefusal:
    return RegistryRefusal(40408, f"Subject '{subject}' does not have subject-level compatibility configured")


def no_mode_of_its_own(subject: str) -> RegistryRefusal:
    return RegistryRefusal(40409, f"Subject '{subject}' does not have subject-level mode configured")


def read_only(subject: str) -> RegistryRefusal:
    return RegistryRefusal(42205, f"Subject '{subject}' is in read-only mode")


def kept_for_ever(subject: str) -> RegistryRefusal:
    return RegistryRefusal(
        42205,
        f"Subject '{subject}' is a contract of this log: its events name these schemas and must stay readable for "
        "ever, so it cannot be deleted permanently",
    )
