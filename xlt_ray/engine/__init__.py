"""Everything on Ray: reading, annotating, training, small tasks, sweeps.

resources          what a run asks for, and what the cluster has
nodes              its nodes, now and at most
local_ray          a Ray of this process
token_file         files with tokens, of a cluster and of a service
environment        variables that libraries read once
arithmetic         device, precision, threads
same_code          every node has this code and these libraries
compute_lock       one step is computed once in a cluster
parallel           independent calls at once
text_shards        how a text is cut
read               text and gold into artifacts
backbone           encoders into artifacts
translate          translation in a pool
mark               sentences as running text, entities in brackets
project            labels carried over to translations
labelled_shards    what actors share that carry labels over, or back
word_vectors       vectors of words in a layer, and which words they align
gold_in_translation  source gold and its translations in one
words_in_translation  sentences of words that are read in translation
bring_back     labels of what was read so, for the words of the text
given          predictions of systems outside
votes          labels of labellers, from files
asking         labels of labellers that are called
answers        what these said, kept by what was asked
chat           a labeller behind an OpenAI-compatible server
annotate           annotate steps
inference          batches through a model
labeller           a model that labels texts in memory
near_sources       which source's text is nearest to a target's
gather             requests that wait for it, labelled together
serving            replicas of a model on Ray Serve
pool               pools of actors
deaths             what is known of processes that died at a step
isolation          shards that kill, part by part
int8               graphs of encoders in int8
average            the mean of several models
driver_node        work on the driver's own node
derive             derive and score steps
train              train steps
tune               trials of a sweep
write_predictions  labelled files
memory             what allocators keep
cost               a guess of minutes
footprint          a guess of a training's memory on a GPU
calibrate          how fast this machine computes
trackers           TensorBoard, MLflow, W&B
"""
