"""The models of a process: the one that serves, the one in shadow, and any other that an answer on record names."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import NamedTuple

from domain.features.eta.baseline import EtaModel
from domain.features.eta.learned.inputs import INPUTS
from domain.features.eta.learned.model import MEDIAN, P90, LearnedEta
from domain.features.eta.packaged import model_of as packaged_model
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.stand_in import StandIn
from infrastructure.eta_models.model_files import ModelUnavailable, load
from infrastructure.eta_models.registry import ModelRegistry, ModelRoles
from infrastructure.observability import metrics
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.models")

POLL_INTERVAL_S = 1.0
MAX_LOADED_MODELS = 16
"""Models in memory, some megabytes each (invariant 15)."""


class ModelsInUse(NamedTuple):
    """What a request answers with. ``shadow``: None without one."""

    serving: EtaModel
    shadow: EtaModel | None = None


class LoadedModels:
    """Loads models of the registry by digest, and keeps the latest. Safe to call in several threads."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._baseline = packaged_baseline()
        self._stand_in = StandIn(self._baseline)
        self._loaded: OrderedDict[str, LearnedEta] = OrderedDict()
        self._mutex = threading.Lock()
        self._reported: set[str] = set()

    def model_of(self, digest: str) -> EtaModel | None:
        """The model with this digest; None if neither this code nor the registry has one that this code can load.

        Raises PortUnavailable.
        """
        packaged = packaged_model(digest)
        if packaged is not None:
            return packaged
        try:
            return self.learned(digest)
        except ModelUnavailable as error:
            if len(self._reported) < MAX_LOADED_MODELS and digest not in self._reported:
                self._reported.add(digest)
                log.error("the model %s cannot be loaded, so the baseline answers: %s", digest[:12], error)
            return None

    def role(self, digest: str | None) -> EtaModel:
        """The model of a role; None is the baseline. A model that cannot be loaded has the stand-in. Never None.

        Raises PortUnavailable.
        """
        if digest is None:
            return self._baseline
        return self.model_of(digest) or self._stand_in

    def learned(self, digest: str) -> LearnedEta:
        """Raises ModelUnavailable, PortUnavailable."""
        with self._mutex:
            if digest in self._loaded:
                self._loaded.move_to_end(digest)
                return self._loaded[digest]
        files = self._registry.files(digest)
        if not files:
            raise ModelUnavailable("the registry does not have it")
        try:
            model = load(files)
        except KeyError as error:
            raise ModelUnavailable(f"the registry does not have its file {error}") from error
        if model.digest != digest:
            raise ModelUnavailable("the registry has another model's files under its digest")
        with self._mutex:
            self._loaded[digest] = model
            while len(self._loaded) > MAX_LOADED_MODELS:
                self._loaded.popitem(last=False)
        return model


class ServedModels:
    """Polls which models serve, and loads them in its own thread: no request waits, and none sees half a change."""

    def __init__(self, registry: ModelRegistry, loaded: LoadedModels, interval_s: float = POLL_INTERVAL_S) -> None:
        self._registry = registry
        self._loaded = loaded
        self._interval_s = interval_s
        self._roles = ModelRoles()
        self._in_use = ModelsInUse(StandIn(packaged_baseline()))
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="eta-models", daemon=True)

    def in_use(self) -> ModelsInUse:
        """Never waits."""
        return self._in_use

    def then(self, at_ms: int) -> EtaModel:
        """The model that served at an instant, epoch ms. Raises PortUnavailable."""
        return self._loaded.role(self._registry.roles_at(at_ms).serving)

    def start(self) -> None:
        """Take over the roles once, so that the first answer is that of the model, and start the thread."""
        self._poll_or_report()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def poll(self) -> None:
        """Take over the roles if they changed, or if a model could not be loaded before. Raises PortUnavailable."""
        roles = self._registry.roles()
        if roles == self._roles and not isinstance(self._in_use.serving, StandIn):
            return
        serving = self._loaded.role(roles.serving)
        shadow = None if roles.shadow is None else self._loaded.model_of(roles.shadow)
        for model in (serving, shadow):
            if isinstance(model, LearnedEta):
                _compile(model)
        metrics.ETA_MODEL_UNAVAILABLE.set(isinstance(serving, StandIn))
        if (roles, serving) != (self._roles, self._in_use.serving):
            log.info("the ETA is answered by %s %s", serving.name, serving.digest[:12])
        self._in_use, self._roles = ModelsInUse(serving, shadow), roles

    def _poll_or_report(self) -> None:
        try:
            self.poll()
        except (PortUnavailable, SinkRejected) as error:
            # At INFO only: the stages themselves report the unavailable server.
            log.info("which model serves is not refreshed for now: %s", error)
        except Exception:
            # The thread must survive any error: the model in use stays.
            log.exception("which model serves cannot be refreshed")

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._poll_or_report()


def _compile(model: LearnedEta) -> None:
    """Before the first request: to compile some hundred trees takes longer than an answer may."""
    for level in (MEDIAN, P90):
        model.trees[level]([0.0] * len(INPUTS))


class FixedModel:
    """One model for all requests, for programs that need no registry."""

    def __init__(self, model: EtaModel) -> None:
        self._in_use = ModelsInUse(model)

    def in_use(self) -> ModelsInUse:
        return self._in_use

    def then(self, at_ms: int) -> EtaModel:
        return self._in_use.serving
