"""Graphs of concepts: grown from assertions, or asked of language models."""
