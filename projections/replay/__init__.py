"""Time travel: a projection as of an instant, along time, and how two of them differ."""
