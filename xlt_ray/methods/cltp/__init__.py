"""CLTP: uncertainty-aware transfer with pseudo-partial labels.

recipe  the method
sets    candidate sets and the ranking of rows
losses  what rounds with sets minimise
"""
