"""The latest state of every key of a projection, on a compacted topic."""
