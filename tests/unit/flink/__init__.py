"""The jobs on Flink, without Flink."""
