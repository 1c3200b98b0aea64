"""From a database to a typed, time-stamped graph."""
