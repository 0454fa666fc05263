"""Benchmarks by name.

benchmark    what a benchmark is
registry     all of them, one entry each
toy          the embedded benchmark
toy_grammar  its sentences
toy_words    its words
toy_translation  translations of its sentences
"""
