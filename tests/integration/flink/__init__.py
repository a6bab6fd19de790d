"""The job of a projection on a real Flink cluster."""
