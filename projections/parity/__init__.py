"""Parity: answers that were served, computed again from the events alone."""
