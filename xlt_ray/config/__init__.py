"""What a run depends on, and where each value came from.

errors       the errors that callers meet
section      what sections are made of
schema       every key: sections, defaults, limits
labellers    the section of labellers
choice       rules that choose a model, in words
layers       defaults, YAML files and --set, merged and checked
credentials  finds secrets in URIs and keeps them out
extras       libraries that a plain install does without
"""
