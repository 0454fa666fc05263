"""Analyses that read gold labels of targets, after a run and outside of every recipe.

judge           labels and sets against gold
measures        what is counted
candidate_sets  sets by every measure
job             rounds of a comparison
calibration     probabilities against accuracy
choosing        regret of rules that choose a model
steps           target scores while a run trains
spans           where spans lie
channel         known confusions
confusions      learned confusions
feature_shift   distances of features
prior_shift     class shares that move
page            tables on a page
findings        where page and figures are written
figures         plots
"""
