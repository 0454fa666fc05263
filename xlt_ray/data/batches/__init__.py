"""From text to tensors.

tokenise  sub-words, once per run
subwords  sub-words of words given one by one: those of running text
layout    how sub-words become model input, read off tokenizer and config
examples  rows as model inputs, windowed where long
planning  which rows share a batch, under a token budget
batch     the tensors of a batch
"""
