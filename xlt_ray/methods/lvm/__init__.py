"""MRT and LVM: risk minimisation and latent-variable EM over sources.

recipe    both methods
settings  their hyper-parameters
channel   confusion matrices that are learned
estep     posteriors of a whole text, and J
mechanisms  how far its parts were at work
"""
