"""The demo database: a seeded shop of any size, written as a RelBench folder."""
