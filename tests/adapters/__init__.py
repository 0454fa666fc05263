"""Adapters from the worked examples to the project's functions, one file per method."""
