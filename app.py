"""The composition root: hands over to the command line, which reads the settings and wires; decides nothing."""

from infrastructure.cli import main

if __name__ == "__main__":
    main()
