"""The status lines that judge answers: parity with the log, drift, and the calibration of ETAs."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine

from infrastructure.eta_models.served_models import LoadedModels
from infrastructure.observability.stage_reports import StageReport, newest, read_stages
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.postgres.eta_drift import ENOUGH_ORDERS, PostgresEtaDrift
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.postgres.served_reads import PostgresServedReads
from infrastructure.status.audit_lines import city_audit_line, eta_parity_line, parity_line
from infrastructure.status.drift_lines import drift_line, eta_error_line
from infrastructure.status.lines import StatusLine
from infrastructure.status.model_line import ModelsStatus, model_line, models_status
from projections.catalogue import PROJECTIONS
from projections.parity.city_findings import CITY_AUDIT_STAGE, findings_of
from projections.parity.served_etas import eta_code_digest
from projections.replay.city import city_code_digest


def verdict_lines(
    engine: Engine, reports: Mapping[str, StageReport], models: ModelsStatus, city_snapshots_keep: int
) -> list[StatusLine]:
    """The lines, from what the audits have recorded. Raises PortUnavailable."""
    audit = reports.get(CITY_AUDIT_STAGE)
    if audit is not None:
        findings = findings_of(audit.progress.detail)
    else:
        # No process audits: what is on record.
        findings = PostgresCitySnapshots(engine, city_snapshots_keep).findings(city_code_digest())
    drift = PostgresEtaDrift(engine).newest(ENOUGH_ORDERS)
    return [
        city_audit_line(findings),
        *(
            parity_line(p.name, PostgresServedReads(engine, p.name).tally())
            for p in PROJECTIONS.values()
            if p.point_read
        ),
        eta_parity_line(PostgresServedEtas(engine).tally(eta_code_digest())),
        model_line(models),
        drift_line(drift),
        eta_error_line(drift),
    ]


def current_verdicts(engine: Engine, city_snapshots_keep: int, loaded: LoadedModels) -> list[StatusLine]:
    """The lines as of now; ``loaded``: the models of this process. Raises PortUnavailable, SQLAlchemyError."""
    return verdict_lines(engine, newest(read_stages(engine)), models_status(engine, loaded), city_snapshots_keep)
