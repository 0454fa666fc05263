"""CoNLST: contrastive negative learning, then self-training.

recipe             the method
settings           its keys
smoothing          a robust source model
robust             what the source model is trained with
negative_learning  stage 1
thresholding       which texts stage 2 keeps
mixup              what stage 2 and FlexMatch train with
ruled              the same with weights, or smoothed labels
mechanisms         how far both stages were at work
"""
