"""``migrate``: brings the database to the revision that this version needs."""

from __future__ import annotations

import json

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Migrate the database to the revision that this version needs.

    An external database (RIDELOG_POSTGRES_URL) needs this command; serve migrates the embedded one at every start.
    """
    from infrastructure.cli.progress import progress
    from infrastructure.embedded.stack import servers_for
    from infrastructure.postgres import migrations
    from infrastructure.postgres.suitability import refuse_unsuitable
    from infrastructure.settings.settings import Settings

    with servers_for(Settings.load({"data_dir": data_dir}), ("postgres_url",), create=True) as settings:
        assert settings.postgres_url is not None
        refuse_unsuitable(settings.postgres_url)
        before = migrations.revision(settings.postgres_url).current
        with progress("migrate: indexes of the log, while events are recorded", "indexes") as show:
            migrations.upgrade(settings.postgres_url, on_built=show)
        after = migrations.revision(settings.postgres_url).current
    if as_json:
        echo(json.dumps({"before": before, "after": after}))
    elif before == after:
        echo(f"the database is up to date (revision {after})")
    else:
        echo(f"the database went from revision {before or 'none'} to {after}")
