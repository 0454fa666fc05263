"""MRT and LVM: risk minimisation and latent-variable EM over sources.

recipe   both methods
channel  confusion matrices that are learned
"""
