"""The released contracts held against each other and against what a registry has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from domain.contracts import Contract, contracts, current, versions
from infrastructure.registry.canonical import fingerprint
from infrastructure.registry.compatibility import InvalidSchema, backward_problems, parse
from infrastructure.registry.evolution import contract_problems
from infrastructure.registry.levels import Level, Old, level_problems
from infrastructure.registry.rows import Registered


class Browsable(Protocol):
    """A registry whose versions can be read."""

    def versions(self, subject: str) -> Sequence[Registered]: ...


class Finding(NamedTuple):
    """One comparison: ``contract`` (a record and its version), what it was held against, and what is wrong."""

    contract: str
    against: str
    problems: list[str]
    says: str


def check_releases(released: Sequence[Contract] | None = None) -> Iterator[Finding]:
    """Each version with the one before, by the rules for our own contracts. Raises InvalidSchema."""
    everything = contracts() if released is None else released
    for record in dict.fromkeys(contract.record for contract in everything):
        of_record = [contract for contract in everything if contract.record == record]
        yield Finding(_name(of_record[0]), "nothing", [], "the first release")
        for old, new in pairwise(of_record):
            problems = contract_problems(json.dumps(new.schema), json.dumps(old.schema))
            yield Finding(_name(new), _name(old), problems, "may follow" if not problems else "may not follow")


def check_registry(registry: Browsable) -> Iterator[Finding]:
    """Each contract with its subject in the registry, both ways. Raises what the registry raises, InvalidSchema."""
    for record in dict.fromkeys(contract.record for contract in contracts()):
        known = registry.versions(current(record).subject)
        for one in known:
            _refuse_no_avro(one)
        theirs = {fingerprint(one.schema): one for one in known}
        for contract in versions(record):
            yield _ours(contract, theirs.pop(fingerprint(json.dumps(contract.schema)), None), known)
        # Somebody registered these beside us; events may be written under them.
        for one in theirs.values():
            problems = backward_problems(json.dumps(current(record).schema), one.schema)
            says = "reads it" if not problems else "does not read what was written under it"
            yield Finding(_name(current(record)), f"the registry's version {one.version}", problems, says)


def _refuse_no_avro(one: Registered) -> None:
    try:
        parse(one.schema)
    except InvalidSchema as error:
        raise InvalidSchema(f"version {one.version} of {one.subject} in the registry is no Avro: {error}") from error


def _ours(contract: Contract, registered: Registered | None, known: Sequence[Registered]) -> Finding:
    if registered is not None:
        says = f"registered as version {registered.version}, id {registered.schema_id}"
        return Finding(_name(contract), "the registry", [], says)
    olds = [Old(one.version, one.schema) for one in known]
    problems = level_problems(Level.BACKWARD, json.dumps(contract.schema), olds)
    says = "not registered yet" if not problems else "would be refused"
    return Finding(_name(contract), "the registry", problems, says)


def _name(contract: Contract) -> str:
    return f"{contract.record} {contract.version}"
