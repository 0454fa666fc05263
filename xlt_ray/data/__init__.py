"""Text and labels, from files to batches.

readers     files, tables and hub datasets, row by row
benchmarks  the named benchmarks, and the embedded one
batches     sub-words, model inputs, token budgets
projection  labels of a text for its translation
schema      rows as readers give them
quarantine  rows that steps had to do without
keyed       tables looked up by id, and lists in them
stock       classes of transformers, imported when they are needed
"""
