"""Train steps.

launch       in this process, or in workers of Ray Train
task         what it is given
processes    what a process does: one worker, or several seats
loop         what every worker does
workers      what they tell each other
seats        workers that share a process, by turns
placement    where the weights lie: whole on each worker
sharding     or a part of each on every one
batches      its rows and passes
adapters     of what a step trains in place of the encoder
optimiser    parameters, rates, state
checkpoints  from which a killed step resumes
snapshots    models along the way, for analyses
determinism  kernels that repeat their bytes
course       how far it is, for who waits
divergence   the first step without finite numbers
"""
