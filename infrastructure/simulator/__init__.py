"""Simulates riders and their phones. A client of the HTTP API like any other."""
