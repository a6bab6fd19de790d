"""Simulated riders with simulated phones: a client of the HTTP interface like any other."""
