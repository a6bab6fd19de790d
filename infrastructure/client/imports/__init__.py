"""Imports of recorded tracks: CSV rows in, every one of them accounted for."""
