"""The API process: takes HTTP requests, sends commands to the event store, and answers from the read models."""

from __future__ import annotations

from functools import partial

from litestar import Router
from litestar.handlers import HTTPRouteHandler

from domain.identifiers import aggregate_id
from domain.riders.rider import Rider
from infrastructure.backends import Backends
from infrastructure.embedded.data_dir import private_secret
from infrastructure.embedded.demo_socket import demo_of_this_process
from infrastructure.errors import UserError
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.eta_models.served_models import LoadedModels, ServedModels
from infrastructure.eta_models.shadow import ShadowAnswers
from infrastructure.eta_models.shadow_table import ShadowTable
from infrastructure.event_store.event_links import EventLinks
from infrastructure.event_store.event_pages import EventPages
from infrastructure.event_store.log_changes import PostgresChangedLog
from infrastructure.event_store.log_tail import LogTail
from infrastructure.http.analytics import analytics_router
from infrastructure.http.application import ApiParts, build, count_command
from infrastructure.http.deliveries import SubmitCommands, deliveries_router
from infrastructure.http.delivery_links import link_route, track_route
from infrastructure.http.delivery_reader import DeliveryReader
from infrastructure.http.demo import demo_router
from infrastructure.http.eta import eta_route
from infrastructure.http.eta_answers import EtaAnswers, EtaReads
from infrastructure.http.event_json import EventEncoder
from infrastructure.http.event_streams import OpenStreams
from infrastructure.http.events import EventReader, events_route
from infrastructure.http.fraud import fraud_routes
from infrastructure.http.fraud_reader import FraudReader
from infrastructure.http.health import needed, ready_checks
from infrastructure.http.lineage import lineage_routes
from infrastructure.http.lineage_reader import LineageReads
from infrastructure.http.link_tokens import LinkTokens
from infrastructure.http.live import live_route
from infrastructure.http.live_feed import LiveFeed
from infrastructure.http.metrics_refresh import refresher
from infrastructure.http.models import ModelReads, models_router
from infrastructure.http.order_views import order_view_routes
from infrastructure.http.outcomes import outcomes_router
from infrastructure.http.parked import parked_router
from infrastructure.http.payouts import payout_routes
from infrastructure.http.pipeline import pipeline_route
from infrastructure.http.projection_desk import ProjectionDesk
from infrastructure.http.projections import projections_router
from infrastructure.http.rider_commands import RiderCommandRequests
from infrastructure.http.rider_views import RiderViews, rider_view_routes
from infrastructure.http.schema_registry.router import registry_router
from infrastructure.http.sessions import Sessions
from infrastructure.http.traffic import traffic_route
from infrastructure.http.verdicts import Verdicts, verdicts_route
from infrastructure.http_server.server import serve_http
from infrastructure.ingest.group_commit import GroupCommit
from infrastructure.ingest.writer_turns import WriterTurns
from infrastructure.observability import metrics
from infrastructure.observability.flink_cluster import cluster_of
from infrastructure.operations.city_feed import CityFeed
from infrastructure.operations.first_etas import FirstEtas
from infrastructure.operations.parked_desk import BackendsParkedDesk
from infrastructure.operations.served_eta_log import eta_recorder
from infrastructure.operations.served_read_log import postgres_recorder
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.postgres.generations import active, active_on
from infrastructure.postgres.held_connection import HeldConnection
from infrastructure.postgres.payout_reads import PayoutReads
from infrastructure.postgres.served_eta_links import ServedEtaLinks
from infrastructure.postgres.session_table import PostgresSessions
from infrastructure.process_pool import tune_gc
from infrastructure.processes.runtime import running
from infrastructure.redis.cluster_reads import key_reads
from infrastructure.redis.state_reader import StateReader
from infrastructure.replay.orders_then import OrdersThen
from infrastructure.replay.past_etas import PastEtas
from infrastructure.replay.past_reads import PastKeys, PastRows, RowReplay
from infrastructure.replay.ping_changes import PingChanges
from infrastructure.replay.remembered import Remembered
from infrastructure.replay.rider_places import RiderPlaces
from infrastructure.replay.rider_tracks import MAX_RECORDS, RiderTracks
from infrastructure.schema_registry.store import RegistryStore
from infrastructure.settings.settings import Settings
from infrastructure.status.pipeline_monitor import MonitoredRelay, PipelineMonitor
from infrastructure.status.verdict_lines import current_verdicts
from projections.cases import case_sources
from projections.digest.digest import view_digest
from projections.locations import LOCATIONS
from projections.orders import ORDERS
from projections.outcomes import OUTCOMES
from projections.replay.remembered_parts import MAX_AGE_S
from projections.speed import SPEED
from read_models.view import ViewLimits

MAX_QUEUED_COMMANDS = 5_000
"""Commands on deliveries that wait for a commit (invariant 15): what a few seconds record."""
MAX_BATCH_COMMANDS = 500
MAX_QUEUED_RIDER_COMMANDS = 1_000
"""Commands of people on riders (reviews, closed statements) that wait for a commit (invariant 15)."""


def main(settings: Settings) -> None:
    """Serve until SIGTERM; commit and answer what is queued before stopping."""
    with Backends(settings) as backends:
        _serve(settings, backends)


def _serve(settings: Settings, backends: Backends) -> None:
    reader, decode = backends.engine, backends.decode
    turns = WriterTurns()
    commits = GroupCommit(
        turns.in_turn(backends.riders.record_pings),
        max_queued=settings.ingest_queue_pings,
        max_batch=settings.commit_batch_pings,
        on_commit=_observe_commit,
    )
    commands = GroupCommit(
        turns.in_turn(backends.deliveries.execute),
        max_queued=MAX_QUEUED_COMMANDS,
        max_batch=MAX_BATCH_COMMANDS,
        noun="commands",
    )
    rider_commands = GroupCommit(
        turns.in_turn(backends.rider_commands.execute),
        max_queued=MAX_QUEUED_RIDER_COMMANDS,
        max_batch=MAX_BATCH_COMMANDS,
        noun="commands-on-riders",
    )
    metrics.QUEUE_CAPACITY.set(settings.ingest_queue_pings)
    tune_gc()
    slot = None if settings.relay == "polling" else settings.slot_name
    stages = needed(settings)
    relay = MonitoredRelay(slot, own_tailer="tailer" in stages)
    monitor = PipelineMonitor(reader, backends.cache, commits, settings.target_freshness_ms, relay)
    served_etas = eta_recorder(reader, settings.served_etas_share, settings.served_etas_keep)
    served_reads = postgres_recorder(
        reader, SPEED, view_digest(SPEED), settings.served_reads_share, settings.served_reads_keep
    )
    first_etas = FirstEtas(turns.in_turn(backends.deliveries.execute))
    backends.riders.command_log.register(first_etas)
    registry = ModelRegistry(reader)
    loaded = LoadedModels(registry)
    models = ServedModels(registry, loaded)
    shadows = ShadowTable(reader)
    shadow_answers = ShadowAnswers(shadows.add, shadows.trim)
    city = CityFeed(PostgresCitySnapshots(reader, settings.city_snapshots_keep))
    streams = OpenStreams(settings.max_streams)
    pages = EventPages(reader)
    tail = LogTail(pages)
    streams.call_at_stop(tail.wake)
    fraud = _fraud_reader(backends)
    events = EventReader(pages, tail, EventEncoder(decode))
    with running(
        commits,
        commands,
        rider_commands,
        monitor,
        city,
        tail,
        served_reads,
        served_etas,
        first_etas,
        models,
        shadow_answers,
    ):
        async_cache = backends.async_cache()
        reads = key_reads(async_cache)
        speeds, orders = (
            StateReader(async_cache, name, partial(active, reader, name), reads) for name in (SPEED.name, ORDERS.name)
        )
        # Of the feed, which asks several times a second while a page is open.
        held = HeldConnection(reader)
        locations = StateReader(async_cache, LOCATIONS.name, partial(active_on, held, LOCATIONS.name), reads)
        feed = LiveFeed(PostgresChangedLog(held), locations, DeliveryReader(reader, backends.deliveries.get))
        streams.call_at_stop(feed.wake)
        past_etas = PastEtas(reader, decode, settings.replay_http_events)
        eta_reads = EtaReads(orders, speeds, city.newest, past_etas)
        etas = EtaAnswers(eta_reads, models, served_etas, first_etas, shadow_answers)

        def failed_append() -> str:
            return commits.failure() or commands.failure() or rider_commands.failure()

        demo = demo_of_this_process()
        flink = cluster_of(settings.flink_url, settings.topic_prefix)
        checks = ready_checks(
            reader, async_cache, stages, writer=backends.writer_engine, failed_append=failed_append, flink=flink
        )
        application = build(
            settings,
            ApiParts(
                submit=commits.submit,
                speed=speeds,
                past_speed=PastKeys(reader, SPEED, decode, settings.replay_http_events),
                delay_ms=partial(monitor.delay_ms, SPEED.name),
                on_served=served_reads,
                checks=checks,
                refresh_metrics=refresher(
                    reader, settings.data_dir, (*stages, "city", *_payments(settings)), commits.queued, flink
                ),
                routers=[
                    traffic_route(city.newest),
                    events_route(events, streams),
                    live_route(feed, streams),
                    pipeline_route(monitor.state, demo=demo is not None),
                    *([] if demo is None else [demo_router(demo)]),
                    projections_router(ProjectionDesk(reader)),
                    parked_router(BackendsParkedDesk(backends)),
                    verdicts_route(Verdicts(partial(current_verdicts, reader, settings.city_snapshots_keep, loaded))),
                    *rider_view_routes(_rider_views(backends, speeds)),
                    *order_view_routes(OrdersThen(reader, decode)),
                    analytics_router(reader, PastRows(reader, decode, settings.replay_http_events)),
                    *payout_routes(PayoutReads(reader), RiderCommandRequests(rider_commands.submit, count_command)),
                    models_router(ModelReads(registry)),
                    outcomes_router(reader, RowReplay(reader, decode, settings.replay_http_events, OUTCOMES)),
                    *_delivery_routes(backends, commands.submit, etas, LinkTokens(_link_key(settings))),
                    *fraud_routes(fraud, RiderCommandRequests(rider_commands.submit, count_command)),
                    *lineage_routes(_lineage(backends, fraud)),
                    *([] if settings.schema_registry_url else [registry_router(RegistryStore(reader))]),
                ],
                on_shutdown=[reads.aclose, async_cache.aclose, held.close],
                sessions=Sessions(PostgresSessions(reader)),
            ),
        )
        serve_http(application, settings, streams.stop)


def _payments(settings: Settings) -> list[str]:
    """The stage of payments, if this node runs it."""
    return ["payments"] if settings.payments_url is not None else []


def _rider_views(backends: Backends, speeds: StateReader) -> RiderViews:
    settings, reader, decode = backends.settings, backends.engine, backends.decode
    # The window and the track of an instant are folded from the same pings, and so are those of the next instant.
    decode_again = Remembered(decode, max_entries=MAX_RECORDS, max_age_s=MAX_AGE_S)
    return RiderViews(
        speeds,
        RiderPlaces(reader, decode),
        RiderTracks(reader, decode_again, settings.replay_http_events),
        ViewLimits(settings.target_freshness_ms, settings.feature_ttl_ms),
    )


def _delivery_routes(
    backends: Backends, submit: SubmitCommands, etas: EtaAnswers, tokens: LinkTokens
) -> list[Router | HTTPRouteHandler]:
    """``/deliveries`` and the customers' links."""
    deliveries = DeliveryReader(backends.engine, backends.deliveries.get)
    link = link_route(deliveries.one, tokens)
    router = deliveries_router(submit, deliveries, count_command, link)
    return [router, eta_route(etas), track_route(deliveries.one, etas.live, tokens)]


def _fraud_reader(backends: Backends) -> FraudReader:
    history = backends.riders.store.history

    def is_known(rider_id: str) -> bool:
        return bool(history.latest([aggregate_id(Rider.AGGREGATE_TYPE, rider_id)]))

    return FraudReader(backends.engine, case_sources(), is_known)


def _lineage(backends: Backends, alerts: FraudReader) -> LineageReads:
    reader, decode = backends.engine, backends.decode
    return LineageReads(
        EventLinks(reader),
        PingChanges(reader, decode, backends.settings.replay_http_events),
        alerts,
        PayoutReads(reader),
        ServedEtaLinks(reader),
        EventEncoder(decode),
        decode,
    )


def _link_key(settings: Settings) -> str | bytes:
    """What signs customers' links. Raises UserError if the data directory cannot keep it."""
    if settings.link_key is not None:
        return settings.link_key
    try:
        return private_secret(settings.data_dir, "link-key")
    except OSError as error:
        raise UserError(f"customers' links cannot be signed: {error}; or set RIDELOG_LINK_KEY") from error


def _observe_commit(_requests: int, pings: int, seconds: float) -> None:
    metrics.COMMIT_SECONDS.observe(seconds)
    metrics.COMMIT_PINGS.observe(pings)
