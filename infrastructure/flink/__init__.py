"""The live projections on Apache Flink: the same folds, sinks and fences, driven by a Flink job."""
