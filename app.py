"""Entry point of every command and process: checks the Python and hands over to the command line.

``infrastructure.cli`` reads the options and settings; ``infrastructure.backends`` builds the connections and adapters.
"""

import sys

OURS = {"domain", "infrastructure", "projections", "read_models"}

if __name__ == "__main__":
    try:
        from infrastructure.cli import main

        main()
    except ImportError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        # Usual cause: the system's Python in a new clone. It lacks the packages, or is too old for the code.
        sys.exit(
            f"error: this Python ({sys.executable}, {sys.version.split()[0]}) lacks a package that ridelog needs "
            f"({error}): run `make install` once, then `.venv/bin/python app.py …`"
        )
