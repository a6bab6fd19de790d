"""Which registry the settings name."""

from __future__ import annotations

from sqlalchemy import Engine

from domain.contracts import SchemaIds
from infrastructure.registry.external import ExternalRegistry
from infrastructure.registry.ids import EmbeddedRegistry, RegisteredIds
from infrastructure.registry.store import RegistryStore
from infrastructure.settings import Settings


def schema_ids(settings: Settings, engine: Engine) -> SchemaIds:
    """Ids from the external registry, or from our own; all released contracts are registered there."""
    if settings.schema_registry_url is not None:
        return RegisteredIds(ExternalRegistry(settings.schema_registry_url))
    return RegisteredIds(EmbeddedRegistry(RegistryStore(engine)))
