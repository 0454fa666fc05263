"""CoNLST: contrastive negative learning, then self-training.

recipe             the method
settings           its keys
smoothing          a robust source model
negative_learning  stage 1
thresholding       which texts stage 2 keeps
mixup              what stage 2 and FlexMatch train with
mechanisms         how far both stages were at work
"""
