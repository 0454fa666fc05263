"""What several methods are made of.

self_training  the rounds of CLTP and the SL baselines
first_labels   pseudo-labels of the first rounds from labellers
confidence     how confident a model is of rows
rules          rows chosen by confidence: method.threshold
reaching       what reaches a threshold, and with what weight
weighted       losses with weights, and of smoothed labels
curriculum     near languages first
choice         which model of the loop is the result
agreement      how far models agree on unlabelled text
warm_start     a source model, or one that is there
row_scores     what rows are chosen by
selection      rows chosen per language and class
mechanisms     how far the parts of the rounds were at work
multi_source   a model per target, of what sources say
sources        one model per source, and their predictions
votes          what sources say together
learnt         what a run tells of a model that learned from sources
softmax        cross-entropy and its annotators
evidential     L_EVI and its annotators
records        what objectives recorded of themselves, as figures
"""
