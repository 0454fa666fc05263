"""IWDA: importance-weighted domain alignment.

recipe       the method
settings     how critic and weights are trained
alignment    the critic and its objective
mechanisms   how far its parts were at work
upper_bound  the same with the true weights; it sees gold
"""
