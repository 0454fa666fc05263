"""Labels that are carried over from a text to its translation.

rejection  why a row is left out
markers    entities in brackets that a translation keeps
aligned    labels by aligned words
"""
