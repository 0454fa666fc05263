"""What several methods are made of.

self_training  the rounds of CLTP and the SL baselines
warm_start     a source model, or one that is there
multi_source   one model per source, and their predictions
selection      rows picked per language and class
softmax        cross-entropy and its annotators
evidential     L_EVI and its annotators
"""
