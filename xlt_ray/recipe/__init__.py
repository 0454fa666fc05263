"""What methods and the engine agree on. Neither knows more of the other.

driver      the verbs that a recipe is written in
method      a method and its outcome
mechanism   how far the parts of a method were at work
objective   what a train step minimises
annotator   what an annotate step computes
task        the task as both see it
schedule    how long a step trains
corpus      views of tokenised text, and mixes of them
stopping    what source dev decides
averaging   the mean of several models
loss_means  means of terms over workers, and objectives that record some
"""
