"""``/models``: the models of the ETA, which one serves, and a model's card: its figures and plots."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import msgspec
from litestar import MediaType, Response, Router, get
from litestar.params import FromPath

from domain.features.eta.packaged import packaged_baseline
from domain.timestamps import epoch_ms
from infrastructure.errors import UserError
from infrastructure.eta_models.model_files import MANIFEST, ModelManifest, ModelUnavailable, read_model_manifest
from infrastructure.eta_models.model_plots import PLOTS
from infrastructure.eta_models.registry import ModelEntry, ModelRegistry, ModelRoles
from infrastructure.http.errors import ApiError, errors, unavailable_as
from infrastructure.http.shared_reads import SharedReads

BASELINE: Final = "baseline"
READ_INTERVAL_S: Final = 2.0
"""From the end of a read to the next one of the same."""
_IMAGE: Final = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
"""A plot never changes under its digest. Only this browser may keep it: the next one may have no token."""
_DIGEST: Final = re.compile(r"[0-9a-f]{1,64}")
"""Postgres takes no text with U+0000, and a path can have any character."""


class ModelItem(msgspec.Struct):
    """``role``: `serving`, `shadow`, or empty. `models list` counts the answers on record of each."""

    digest: str
    name: str
    role: str
    created_at_ms: int | None
    created_by: str | None


class ModelsAnswer(msgspec.Struct):
    """The baseline that ships with the code first, then the models of the registry, the oldest first."""

    items: list[ModelItem]


class ModelPlot(msgspec.Struct):
    """A plot of the card: `/models/{digest}/plots/{name}` is its image."""

    name: str
    title: str


class ModelCard(msgspec.Struct):
    """What the manifest of a model says: where it comes from, how it was judged, and for which inputs.

    ``evaluation``: on orders that are later than all it was trained on. ``bounds``: outside them the baseline answers.
    """

    digest: str
    name: str
    role: str
    inputs: list[str]
    cities: list[str]
    bounds: dict[str, Any]
    evaluation: dict[str, Any]
    training: dict[str, Any]
    training_set: dict[str, Any]
    plots: list[ModelPlot]


class ModelReads:
    """Reads the registry. Blocks; safe to call in several threads. Raises ApiError."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def all(self) -> ModelsAnswer:
        """Raises ApiError 503."""
        with unavailable_as("models_unavailable"):
            entries, roles = self._registry.entries(), self._registry.roles()
        baseline = packaged_baseline()
        role = "serving" if roles.serving is None else ""
        first = ModelItem(baseline.digest, BASELINE, role, None, None)
        return ModelsAnswer([first, *(_item(one, roles) for one in entries)])

    def digest(self, start: str) -> str:
        """The whole digest of the one model whose digest starts so. Raises ApiError 404, 503."""
        try:
            with unavailable_as("models_unavailable"):
                return self._registry.digest_starting(start)
        except UserError as error:
            raise ApiError(404, "unknown_model", f"{error}; GET /models lists them") from error

    def card(self, digest: str) -> ModelCard:
        """Raises ApiError 409, 503."""
        with unavailable_as("models_unavailable"):
            manifest = self._manifest(digest)
            roles = self._registry.roles()
            plots = [ModelPlot(name, PLOTS[name]) for name in self._registry.plots(digest)]
        spec = manifest.spec
        return ModelCard(
            digest,
            spec.name,
            _role(digest, roles),
            spec.inputs,
            spec.cities,
            msgspec.to_builtins(spec.bounds),
            manifest.evaluation,
            manifest.training,
            manifest.training_set,
            plots,
        )

    def plot(self, digest: str, name: str) -> bytes:
        """A plot of the card, as PNG. Raises ApiError 404, 503."""
        with unavailable_as("models_unavailable"):
            content = self._registry.file(digest, name) if name in PLOTS else None
        if content is None:
            raise ApiError(404, "unknown_plot", "the registry has no such plot; GET /models/{digest} lists them")
        return content

    def _manifest(self, digest: str) -> ModelManifest:
        text = self._registry.file(digest, MANIFEST)
        try:
            if text is None:
                raise ModelUnavailable("the registry does not have its manifest")
            return read_model_manifest(text)
        except ModelUnavailable as error:
            detail = (
                f"the model {digest[:12]} has no card that this code can read: {error}; see card.html in its folder"
            )
            raise ApiError(409, "model_unreadable", detail) from error


def models_router(reads: ModelReads, interval_s: float = READ_INTERVAL_S) -> Router:
    """Everything under ``/models``."""
    digests: SharedReads[str] = SharedReads(interval_s)
    lists: SharedReads[ModelsAnswer] = SharedReads(interval_s)
    cards: SharedReads[ModelCard] = SharedReads(interval_s)
    plots: SharedReads[bytes] = SharedReads(interval_s)

    async def whole(start: str) -> str:
        """Cards and plots are kept by the whole digest. By its start, 64 copies of a plot of 1 MiB would be kept."""
        if not _DIGEST.fullmatch(start):
            raise ApiError(404, "unknown_model", "a digest has 1 to 64 hexadecimal digits; GET /models lists them")
        return await digests.get(start, partial(reads.digest, start))

    @get(
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="Models of the ETA, and which one serves",
        responses=errors(503),
    )
    async def get_models() -> ModelsAnswer:
        """As `models list`. A model is promoted and rolled back by commands: it is code."""
        return await lists.get("models", reads.all)

    @get(
        "/{digest:str}",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="The figures of a model's card",
        responses=errors(400, 404, 409, 503),
    )
    async def get_model(digest: FromPath[str]) -> ModelCard:
        """By its digest, or how that begins. `plots` are those that the registry got with the model."""
        found = await whole(digest)
        return await cards.get(found, partial(reads.card, found))

    @get(
        "/{digest:str}/plots/{name:str}",
        media_type="image/png",
        opt={"role": "read"},
        summary="A plot of a model's card",
        responses=errors(400, 404, 503),
    )
    async def get_model_plot(digest: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        """A PNG, one of the `plots` that the card names."""
        found = await whole(digest)
        content = await plots.get((found, name), partial(reads.plot, found, name))
        return Response(content, media_type="image/png", headers=_IMAGE)

    return Router("/models", route_handlers=[get_models, get_model, get_model_plot], tags=["models"])


def _item(one: ModelEntry, roles: ModelRoles) -> ModelItem:
    role = _role(one.digest, roles)
    return ModelItem(one.digest, one.name, role, epoch_ms(one.created_at), one.created_by)


def _role(digest: str, roles: ModelRoles) -> str:
    return "serving" if digest == roles.serving else "shadow" if digest == roles.shadow else ""
