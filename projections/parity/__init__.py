"""Parity: served answers are recomputed from the events alone and compared byte for byte."""
