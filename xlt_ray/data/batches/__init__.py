"""From text to tensors.

tokenise  sub-words, once per run
layout    how sub-words become model input, read off tokenizer and config
examples  rows as model inputs, windowed where long
planning  which rows share a batch, under a token budget
batch     the tensors of a batch
"""
