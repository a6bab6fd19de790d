"""``models``: lists the models of the ETA, and changes which of them serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo, echo_json
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.backends import Backends
    from infrastructure.eta_models.registry import ModelRegistry, ModelRoles

commands = typer.Typer(help="The models of the ETA, and which of them serves.", no_args_is_help=True)

BASELINE = "baseline"
WhoOption = Annotated[str | None, typer.Option(help="Who decides.  \\[default: the login name]")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="models")


@commands.command("list")
def list_(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the models of the registry, which one serves, and the history of that."""
    with _registry(data_dir) as registry:
        entries, changes, roles = registry.entries(), registry.changes(), registry.roles()
        served = registry.served_etas()
    if as_json:
        echo_json(
            {
                "serving": roles.serving or BASELINE,
                "shadow": roles.shadow,
                "models": [
                    {
                        **one._asdict(),
                        "created_at": one.created_at.isoformat(),
                        "served_etas": served.get(one.digest, 0),
                    }
                    for one in entries
                ],
                "history": [_change(one) for one in changes],
            }
        )
        return
    for one in entries:
        role = "serving" if one.digest == roles.serving else "shadow" if one.digest == roles.shadow else ""
        echo(
            f"{one.digest[:12]}  {one.name:24} {role:8} {one.created_at:%Y-%m-%d %H:%M} by {one.created_by}, "
            f"{served.get(one.digest, 0):,} answers on record"
        )
    echo(f"{len(entries)} models; {'the baseline serves' if roles.serving is None else roles.serving[:12] + ' serves'}")
    for change in changes:
        echo(f"  {change.changed_at:%Y-%m-%d %H:%M:%S}  {change.action} by {change.changed_by}: {_named(change.roles)}")


@commands.command()
def promote(
    model: Annotated[
        str,
        typer.Argument(
            metavar="DIR|DIGEST|baseline", help="Folder of a model, or how its digest in the registry begins."
        ),
    ],
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Let it answer beside the serving model, on record only.")
    ] = False,
    who: WhoOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model answer the ETA. A running API takes it over within two seconds, without a restart.

    'baseline' is the model that ships with the code; with --shadow it ends the shadow.
    """
    with _registry(data_dir) as registry:
        by = _who(who)
        digest = None if model == BASELINE else _digest(registry, model, by)
        roles = registry.shadow(digest, by) if shadow else registry.promote(digest, by)
    _print_roles(roles, as_json=as_json)


@commands.command("roll-back")
def roll_back(who: WhoOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Let the model serve that served before the last promotion."""
    with _registry(data_dir) as registry:
        roles = registry.roll_back(_who(who))
    _print_roles(roles, as_json=as_json)


@commands.command()
def compare(
    model: Annotated[
        str | None, typer.Argument(metavar="DIGEST", help="A model that was in shadow.  \\[default: the one that is]")
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what the serving model and the shadow answered with the hand-overs that followed."""
    from domain.features.eta.packaged import model_of as packaged_model
    from infrastructure.eta_models.registry import ModelRegistry
    from infrastructure.eta_models.shadow_table import ShadowTable

    with _opened(data_dir) as backends:
        registry = ModelRegistry(backends.engine)
        digest = registry.roles().shadow if model is None else registry.digest_starting(model)
        if digest is None:
            raise UserError("no model is in shadow: name one that was, or run `models promote DIR --shadow`")
        table = ShadowTable(backends.engine)
        found, answers = table.compare(digest), table.count(digest)
    if as_json:
        echo_json({"shadow": digest, "answers": answers, "legs": [one._asdict() for one in found]})
        return
    if not found:
        if answers:
            echo(f"{answers:,} answers of {digest[:12]} in shadow, of orders that are not handed over yet")
        else:
            echo(f"no answer of {digest[:12]} in shadow: it answers when clients ask for the ETA of an order")
        return
    for serving, legs in groupby(found, key=lambda one: one.serving_digest):
        served = "the baseline" if packaged_model(serving) else serving[:12]
        echo(f"shadow {digest[:12]} beside {served}, which served")
        echo(
            f"{'leg':16}{'answers':>9}{'orders':>8}{'serving MAE':>13}{'shadow MAE':>12}{'serving ≤ P90':>15}"
            f"{'shadow ≤ P90':>14}{'apart':>8}{'outside':>9}"
        )
        for one in legs:
            echo(
                f"{one.leg:16}{one.answers:9,}{one.orders:8,}{one.serving_mae_s:11.1f} s{one.shadow_mae_s:10.1f} s"
                f"{one.serving_coverage_90:15.1%}{one.shadow_coverage_90:14.1%}{one.difference_s:6.1f} s"
                f"{one.outside_training:9.1%}"
            )


def _digest(registry: ModelRegistry, model: str, by: str) -> str:
    """The digest of a model, whose files are in the registry after this. Raises UserError."""
    from infrastructure.eta_models.model_files import ModelUnavailable, load_folder, read_model_files
    from infrastructure.eta_models.model_plots import read_plots
    from infrastructure.eta_models.served_models import LoadedModels

    folder = Path(model)
    if folder.is_dir():
        load_folder(folder)
        files = read_model_files(folder)
        return registry.add({**files, **read_plots(folder, files)}, by)
    digest = registry.digest_starting(model)
    try:
        LoadedModels(registry).learned(digest)
    except ModelUnavailable as error:
        raise UserError(f"{digest[:12]} cannot serve, so nothing was changed: {error}") from error
    return digest


def _print_roles(roles: ModelRoles, *, as_json: bool) -> None:
    if as_json:
        echo_json({"serving": roles.serving or BASELINE, "shadow": roles.shadow})
    else:
        echo(_named(roles))


def _named(roles: ModelRoles) -> str:
    shadow = "" if roles.shadow is None else f", {roles.shadow[:12]} is in shadow"
    return f"{BASELINE if roles.serving is None else roles.serving[:12]} serves{shadow}"


def _change(change: Any) -> dict[str, Any]:
    return {
        "at": change.changed_at.isoformat(),
        "by": change.changed_by,
        "action": str(change.action),
        "serving": change.roles.serving or BASELINE,
        "shadow": change.roles.shadow,
    }


def _who(who: str | None) -> str:
    from infrastructure.cli.parked import login_name

    return who or login_name()


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[Backends]:
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
    ):
        yield backends


@contextmanager
def _registry(data_dir: Path | None) -> Iterator[ModelRegistry]:
    from infrastructure.eta_models.registry import ModelRegistry

    with _opened(data_dir) as backends:
        yield ModelRegistry(backends.engine)
