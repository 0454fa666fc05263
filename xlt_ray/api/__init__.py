"""The Python door: what `import xlt_ray` offers. The command line does the same things.

calls    self_train, compare, sweep, predict, load
keys     keyword arguments as keys of the configuration
inputs   rows in memory as files of the store
results  what a run, a comparison and a sweep leave
model    a trained model, and what it says of text
"""
