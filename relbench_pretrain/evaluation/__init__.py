"""Metrics, tables and runs."""
