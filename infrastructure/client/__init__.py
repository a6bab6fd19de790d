"""A client of ridelog's HTTP API. It does not depend on the server's code."""
