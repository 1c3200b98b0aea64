"""Pretraining on relational data: the library, without Lightning."""
