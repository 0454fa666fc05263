"""From text to tensors.

tokenise  sub-words, once per run
examples  rows as model inputs, windowed where long
planning  which rows share a batch, under a token budget
batch     the tensors of a batch
"""
