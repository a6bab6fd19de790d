"""Backfill: recorded history into an empty log, in the order of its reception."""
