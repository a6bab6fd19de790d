"""The registry of learned models in Postgres: their files, which one serves, and the history of that.

Nothing deletes a model: answers on record name it, and their check asks for it. Two models of one digest are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from infrastructure.errors import UserError
from infrastructure.eta_models.model_files import DECIDING_FILES, MANIFEST, read_model_manifest
from infrastructure.eta_models.model_plots import PLOTS
from infrastructure.postgres.errors import unavailable_as_port_error

STORED_FILES = (MANIFEST, *DECIDING_FILES)
"""The card stays in the directory of the model: no answer depends on it. Its plots are stored too, for the page."""


class ModelAction(StrEnum):
    """What changed which model serves; the values are stored."""

    PROMOTE = "promote"
    SHADOW = "shadow"
    END_SHADOW = "end_shadow"
    ROLL_BACK = "roll_back"


class ModelRoles(NamedTuple):
    """Digests of the model that serves and of the one in shadow. None: the packaged baseline; no shadow."""

    serving: str | None = None
    shadow: str | None = None


class ModelChange(NamedTuple):
    """One line of the history. ``roles``: from then on."""

    id: int
    changed_at: datetime
    changed_by: str
    action: ModelAction
    roles: ModelRoles


class ModelEntry(NamedTuple):
    """One model of the registry."""

    digest: str
    name: str
    created_at: datetime
    created_by: str


_ADD = text(
    "INSERT INTO eta_models (digest, name, created_by) VALUES (:digest, :name, :by) ON CONFLICT (digest) DO NOTHING"
)
_ADD_FILE = text(
    "INSERT INTO eta_model_files (digest, name, content) VALUES (:digest, :name, :content)"
    " ON CONFLICT (digest, name) DO NOTHING"
)
_FILE = text("SELECT content FROM eta_model_files WHERE digest = :digest AND name = :name")
_FILES = text("SELECT name, content FROM eta_model_files WHERE digest = :digest AND name = ANY(:names)")
_NAMES = text("SELECT name FROM eta_model_files WHERE digest = :digest")
_STARTING = text("SELECT digest FROM eta_models WHERE starts_with(digest, :start) LIMIT 2")
_ENTRIES = text("SELECT digest, name, created_at, created_by FROM eta_models ORDER BY created_at, digest")
_SERVED = text("SELECT model_digest, count(*) FROM served_etas GROUP BY model_digest")
_CHANGES = text("SELECT id, changed_at, changed_by, action, serving, shadow FROM eta_model_changes ORDER BY id")
_ROLES = text("SELECT serving, shadow FROM eta_model_changes ORDER BY id DESC LIMIT 1")
_ROLES_AT = text("SELECT serving, shadow FROM eta_model_changes WHERE changed_at <= :at ORDER BY id DESC LIMIT 1")
_LOCK = text("LOCK TABLE eta_model_changes IN SHARE ROW EXCLUSIVE MODE")
_CHANGE = text(
    "INSERT INTO eta_model_changes (changed_by, action, serving, shadow) VALUES (:by, :action, :serving, :shadow)"
)


class ModelRegistry:
    """Raises PortUnavailable while Postgres does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, files: Mapping[str, bytes], by: str) -> str:
        """Store the files of a model that was loaded before, and its plots. Repeating it changes nothing.

        Returns its digest.
        """
        manifest = read_model_manifest(files[MANIFEST])
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_ADD, {"digest": manifest.digest, "name": manifest.spec.name, "by": by})
            for name in (*STORED_FILES, *(name for name in PLOTS if name in files)):
                connection.execute(_ADD_FILE, {"digest": manifest.digest, "name": name, "content": files[name]})
        return manifest.digest

    def files(self, digest: str) -> dict[str, bytes]:
        """What a model is loaded from. Empty if the registry does not have it."""
        values = {"digest": digest, "names": list(STORED_FILES)}
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return {name: bytes(content) for name, content in connection.execute(_FILES, values)}

    def plots(self, digest: str) -> list[str]:
        """The file names of the plots that the registry has of a model, in the order of the card."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            names = set(connection.execute(_NAMES, {"digest": digest}).scalars())
        return [name for name in PLOTS if name in names]

    def file(self, digest: str, name: str) -> bytes | None:
        """None if the registry does not have it."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            content = connection.execute(_FILE, {"digest": digest, "name": name}).scalar_one_or_none()
        return None if content is None else bytes(content)

    def digest_starting(self, start: str) -> str:
        """The one digest that starts so. Raises UserError for none, and for several."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            found = connection.execute(_STARTING, {"start": start}).scalars().all()
        if len(found) != 1:
            count = "no model" if not found else "several models"
            raise UserError(f"{count} of the registry has a digest that starts with {start!r}: see `models list`")
        return str(found[0])

    def entries(self) -> list[ModelEntry]:
        """The oldest first."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [ModelEntry(*row) for row in connection.execute(_ENTRIES)]

    def served_etas(self) -> dict[str, int]:
        """Answers on record by the digest of their model. Reads all of them, so nothing that is polled may ask."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return {str(digest): int(count) for digest, count in connection.execute(_SERVED)}

    def changes(self) -> list[ModelChange]:
        """The history, the oldest first."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [_change(row) for row in connection.execute(_CHANGES)]

    def roles(self) -> ModelRoles:
        """The roles now."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(_ROLES).one_or_none()
        return ModelRoles() if row is None else ModelRoles(*row)

    def roles_at(self, at_ms: int) -> ModelRoles:
        """The roles at an instant, epoch ms. A serving process takes a change over within a few seconds."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(_ROLES_AT, {"at": _instant(at_ms)}).one_or_none()
        return ModelRoles() if row is None else ModelRoles(*row)

    def promote(self, digest: str | None, by: str) -> ModelRoles:
        """Let the model serve, None: the baseline. It ends its own shadow. Raises UserError if it serves already."""

        def promoted(changes: Sequence[ModelChange]) -> ModelRoles:
            before = _now(changes)
            if before.serving == digest and changes:
                raise UserError("this model serves already; nothing was changed")
            return _serving(digest, before)

        return self._change(ModelAction.PROMOTE, by, promoted)

    def shadow(self, digest: str | None, by: str) -> ModelRoles:
        """Let the model answer beside the serving one; None ends that."""
        action = ModelAction.END_SHADOW if digest is None else ModelAction.SHADOW

        def shadowed(changes: Sequence[ModelChange]) -> ModelRoles:
            before = _now(changes)
            if digest is not None and before.serving == digest:
                raise UserError("this model serves; name another one for the shadow")
            return before._replace(shadow=digest)

        return self._change(action, by, shadowed)

    def roll_back(self, by: str) -> ModelRoles:
        """Let the model serve that served before the last promotion. It ends its own shadow.

        Raises UserError if there is none.
        """

        def rolled_back(changes: Sequence[ModelChange]) -> ModelRoles:
            return _serving(before_last_promotion(changes), _now(changes))

        return self._change(ModelAction.ROLL_BACK, by, rolled_back)

    def _change(self, action: ModelAction, by: str, decide: Any) -> ModelRoles:
        # One change at a time: each is decided by the history that it continues.
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_LOCK)
            roles: ModelRoles = decide([_change(row) for row in connection.execute(_CHANGES)])
            connection.execute(_CHANGE, {"by": by, "action": action, **roles._asdict()})
        return roles


def before_last_promotion(changes: Sequence[ModelChange]) -> str | None:
    """What served before the last promotion that was not rolled back; None: the baseline. Raises UserError."""
    promoted: list[str | None] = []
    for change in changes:
        if change.action == ModelAction.PROMOTE:
            promoted.append(change.roles.serving)
        elif change.action == ModelAction.ROLL_BACK:
            promoted.pop()
    if not promoted:
        raise UserError("no promotion is left to roll back: the baseline serves")
    return promoted[-2] if len(promoted) > 1 else None


def _serving(digest: str | None, before: ModelRoles) -> ModelRoles:
    # A model that serves is no shadow of itself: each answer would be computed and recorded twice.
    return ModelRoles(digest, None if before.shadow == digest else before.shadow)


def _now(changes: Sequence[ModelChange]) -> ModelRoles:
    return changes[-1].roles if changes else ModelRoles()


def _change(row: Any) -> ModelChange:
    number, at, by, action, serving, shadow = row
    return ModelChange(number, at, by, ModelAction(action), ModelRoles(serving, shadow))


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000.0, UTC)
