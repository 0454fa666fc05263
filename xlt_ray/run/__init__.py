"""A run, from its configuration to its report.

check         the configuration, checked
session       lease, cluster, recipe
driver        the verbs, each a durable step
corpora       the text of a run, read once
reading       one split into an artifact
translations  the text in translation
projections   source gold in translation, with its labels
labellers     who they are, and what they say about the text
labeller_code code of labellers that are called
policy        where a dry run or a trial differs from a run
int8          graphs of models, where annotators compute in int8
steps         look up, or compute and commit
few           which targets have labelled rows, and what is said of it
target_labels labels of targets in the models that a run starts from
gold          the right to read gold labels, the only way to them
gold_steps    durable steps over those of targets
scoring       scores of models
results       report, page and model
made_by       the code that made a result
label_drift   labels that change from round to round
saved_models  models of finished runs
inventory     the runs of a store, and what nobody uses
dry_run       looks steps up and counts
rehearsal     checks and prints the plan
at_work       how far a step is
peak_memory   the most memory that the driver held during one
time_left     how long the run still takes
seen          what a dry run shows of files
failures      what went wrong, in the words of config.errors
exit_codes    how commands end
"""
