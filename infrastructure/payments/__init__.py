"""Hands payouts and adjustments to a payment provider, each at least once and in order a rider."""
