"""The error whose text is meant for the person at the terminal: what is wrong and what to do next."""

from __future__ import annotations


class UserError(Exception):
    """Printed by the command line as one clear line, without a traceback; the exit code is 1."""
