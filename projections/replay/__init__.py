"""Time travel: a projection as of an instant and along time, and how two replays differ. Pure; infrastructure/replay
has the queries and files."""
