"""Plots of the analyses.

calibration  reliability
spans        spans in a plane
matrices     confusion matrices
shift        scores against shift
"""
