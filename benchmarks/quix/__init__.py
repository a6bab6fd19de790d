"""One stream through Ridelog's runner, Ridelog on Flink and Quix Streams, under faults."""
