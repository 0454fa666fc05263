"""IWDA: importance-weighted domain alignment.

recipe       the method
alignment    the critic and its objective
upper_bound  the same with the true weights; it sees gold
"""
