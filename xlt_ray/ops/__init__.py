"""Pure functions on tensors and arrays, one file per family of equations.

evidential       Dirichlet evidence and L_EVI
uncertainty      vacuity, dissonance, entropy
partial_labels   candidate sets
leveraged        the LW loss over them
set_measures     other measures of sets
heteroscedastic  SL-LEU
homoscedastic    SL-LOU
precision        logarithms that stay finite
confusion        confusion matrices of MRT and LVM
confusion_counts the matrices in closed form
voting           majorities
model_agreement  models on the same items
weight_mean      the mean of models
distillation     KD and KD-re
alignment        domain alignment
importance       importance weights by quadratic programming
explained        what such weights explain
contrastive      contrastive negative learning
supervised_contrastive  classes of unit vectors apart
thresholds       FlexMatch
self_adaptive    FreeMatch
truncated_gaussian  SoftMatch
masking          masked input and noise
mixture          Gaussian mixtures
vmf              von Mises-Fisher distributions
bessel           their normaliser
refinement       label refinement
spans            spans and their decoding
entities         spans and BIO tags
selection        quotas per class
acquisition      which rows a person labels next
nearness         how near languages are, by vectors of sentences
word_alignment   aligned words, by vectors of words
quantisation     linear layers in int8
faiss_products   how faiss searches
"""
