"""Learned models of the ETA: their files, their evaluation, and the registry that serving reads them from."""
