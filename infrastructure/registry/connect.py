"""Which registry the settings name."""

from __future__ import annotations

from sqlalchemy import Engine

from domain.contracts import SchemaIds
from infrastructure.registry.external import ExternalRegistry
from infrastructure.registry.ids import EmbeddedRegistry, RegisteredIds, SchemaRegistry
from infrastructure.registry.store import RegistryStore
from infrastructure.settings import Settings


def registry_of(settings: Settings, engine: Engine) -> SchemaRegistry:
    """The external registry if one is named, else our own tables."""
    if settings.schema_registry_url is not None:
        return ExternalRegistry(settings.schema_registry_url)
    return EmbeddedRegistry(RegistryStore(engine))


def schema_ids(settings: Settings, engine: Engine) -> SchemaIds:
    """Ids from the external registry, or from our own; all released contracts are registered there."""
    return RegisteredIds(registry_of(settings, engine))
