"""Time travel on real servers: a projection as of an instant, its series over time, and differences of two replays."""
