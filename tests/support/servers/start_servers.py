"""Starts and stops the three embedded servers from this process, and prints the user of each. Run by ``-m``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from tests.support.servers.servers import running


def main(data_dir: Path) -> None:
    """Print one line for each server: its name, and whether it runs as the user of this process."""
    for server in (Postgres(data_dir), Valkey(data_dir), Tansu(data_dir)):
        with running(server):
            same = psutil.Process(server.pid).uids().effective == os.geteuid() != 0
            sys.stdout.write(f"{server.name} {'as we' if same else 'as another'}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
