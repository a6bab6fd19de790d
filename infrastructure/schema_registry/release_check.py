"""Compares the released contracts with each other and with the versions in a registry.

The rules for our own contracts are stricter than the registry's: no change may lose a recorded value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from domain.events.contracts import Contract, contracts, current, versions
from infrastructure.schema_registry.canonical import fingerprint
from infrastructure.schema_registry.check_process import CheckProcess, shared
from infrastructure.schema_registry.compatibility import InvalidSchema, Level, StoredSchema, backward_problems
from infrastructure.schema_registry.queries import RegisteredSchema


def contract_problems(new: str, old: str) -> list[str]:
    """Reports why ``new`` may not be released after ``old``. Empty: it may. Raises InvalidSchema.

    A field may be added with a default, and removed if it had one (old readers then use it). Rejected are: a rename; a
    change of type, even a promotion (readers of the old version could not read it); another default (old frames would
    read differently on replay). Our contracts are flat records; a nested type is compared as a whole.
    """
    was, now = _fields(old), _fields(new)
    gone = [field for name, field in was.items() if name not in now]
    came = [field for name, field in now.items() if name not in was]
    kept = [(field, now[name]) for name, field in was.items() if name in now]
    return [
        *backward_problems(new, old),
        *(
            f"field {field['name']} is required by old readers: it may not be removed"
            for field in gone
            if not _optional(field)
        ),
        *(
            f"field {before['name']} seems to be renamed to {after['name']}, which loses its values: "
            "if it is no rename, release the removal first"
            for before in gone
            for after in came
            if _type(before) == _type(after) or before["name"] in after.get("aliases", [])
        ),
        *(f"field {after['name']} changes its type" for before, after in kept if _type(before) != _type(after)),
        *(
            f"field {after['name']} changes its default"
            for before, after in kept
            if _default(before) != _default(after)
        ),
    ]


def _fields(schema: str) -> dict[str, dict[str, Any]]:
    parsed = json.loads(schema)
    return {field["name"]: field for field in parsed["fields"]} if isinstance(parsed, dict) else {}


def _optional(field: dict[str, Any]) -> bool:
    return "default" in field


def _type(field: dict[str, Any]) -> str:
    return json.dumps(field["type"], sort_keys=True)


def _default(field: dict[str, Any]) -> str:
    return json.dumps(field["default"]) if _optional(field) else "none"


class Browsable(Protocol):
    """A registry whose versions can be read."""

    def versions(self, subject: str) -> Sequence[RegisteredSchema]: ...


class ContractFinding(NamedTuple):
    """The result of one comparison: ``contract`` (record and version), what it was compared with, and the problems."""

    contract: str
    against: str
    problems: list[str]
    says: str


def check_releases(released: Sequence[Contract] | None = None) -> Iterator[ContractFinding]:
    """Compares each version with the one before, by the rules for our own contracts. Raises InvalidSchema."""
    everything = contracts() if released is None else released
    for record in dict.fromkeys(contract.record for contract in everything):
        of_record = [contract for contract in everything if contract.record == record]
        yield ContractFinding(_name(of_record[0]), "nothing", [], "the first release")
        for old, new in pairwise(of_record):
            problems = contract_problems(json.dumps(new.schema), json.dumps(old.schema))
            yield ContractFinding(_name(new), _name(old), problems, "may follow" if not problems else "may not follow")


def check_registry(registry: Browsable) -> Iterator[ContractFinding]:
    """Compares each contract with its subject in the registry, both ways.

    Schemas that other clients registered are checked in a separate process. One that cannot be checked there is a
    problem. Raises what the registry raises, and InvalidSchema.
    """
    checks = shared()
    for record in dict.fromkeys(contract.record for contract in contracts()):
        known = registry.versions(current(record).subject)
        faults = {one.version: _fault(checks, one) for one in known}
        theirs = {fingerprint(one.schema): one for one in known}
        for contract in versions(record):
            yield _ours(checks, contract, theirs.pop(fingerprint(json.dumps(contract.schema)), None), known)
        # Other clients registered these; events may be written under them.
        for one in theirs.values():
            problems = [fault] if (fault := faults[one.version]) else _problems(checks, current(record), [one])
            says = "reads it" if not problems else "does not read what was written under it"
            yield ContractFinding(_name(current(record)), f"the registry's version {one.version}", problems, says)


def _fault(checks: CheckProcess, one: RegisteredSchema) -> str:
    """Returns why a registered version cannot be compared, "" if it can. Raises InvalidSchema for non-JSON text."""
    examined = checks.examine(one.schema)
    if examined.fingerprint is None:
        raise InvalidSchema(f"version {one.version} of {one.subject} in the registry is no Avro: {examined.fault}")
    return examined.fault


def _problems(checks: CheckProcess, contract: Contract, known: Sequence[RegisteredSchema]) -> list[str]:
    olds = [StoredSchema(one.version, one.schema) for one in known]
    try:
        return checks.problems(Level.BACKWARD, json.dumps(contract.schema), olds)
    except InvalidSchema as error:
        return [str(error)]


def _ours(
    checks: CheckProcess, contract: Contract, registered: RegisteredSchema | None, known: Sequence[RegisteredSchema]
) -> ContractFinding:
    if registered is not None:
        says = f"registered as version {registered.version}, id {registered.schema_id}"
        return ContractFinding(_name(contract), "the registry", [], says)
    problems = _problems(checks, contract, known)
    says = "not registered yet" if not problems else "would be refused"
    return ContractFinding(_name(contract), "the registry", problems, says)


def _name(contract: Contract) -> str:
    return f"{contract.record} {contract.version}"
