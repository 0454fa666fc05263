"""Analyses that peek at gold labels of target languages, after a run and for the reader alone."""
