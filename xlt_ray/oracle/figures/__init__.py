"""Plots of the analyses.

calibration  reliability
steps        scores by step
spans        spans in a plane
matrices     confusion matrices
shift        scores against shift
"""
