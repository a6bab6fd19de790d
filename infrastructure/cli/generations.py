"""``generations``: lists the builds of each projection, and which one is served."""

from __future__ import annotations

from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(generations)


def generations(
    projection: Annotated[str | None, typer.Option(help="Only this projection.")] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the generations of every projection: which one is served, which are kept, and their fold versions.

    rebuild-projection builds a new one; rollback-projection switches back to the previous one.
    """
    import msgspec

    from infrastructure.backends import FOLD_SETTINGS, open_backends, projection_named
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings
    from projections.catalogue import PROJECTIONS

    wanted = list(PROJECTIONS.values()) if projection is None else [projection_named(projection)]
    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), FOLD_SETTINGS) as settings,
        open_backends(settings, FOLD_SETTINGS) as backends,
    ):
        found = [(each, one) for each in wanted for one in backends.generations.all(each.name)]
    if as_json:
        echo(msgspec.json.encode([one._asdict() | {"ours": one.is_of(each)} for each, one in found]))
        return
    for each, one in found:
        facts: list[str] = ["served" if one.active else one.state]
        if not one.is_of(each):
            facts.append("folded by other code: this version does not write to it")
        if one.comparison is not None:
            facts.append(f"{one.comparison['differing']:,} differences from generation {one.comparison['live']}")
        echo(f"{one.projection}@{one.number}  fold version {one.fold_version}  {'; '.join(facts)}")
