"""A client of ridelog's own HTTP interface; it knows nothing of the server's code."""
