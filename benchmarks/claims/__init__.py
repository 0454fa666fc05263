"""What the papers claim, and whether it holds here.

schema    claims as docs/claims.yaml has them, and what is wrong with them
printed   figures of the papers' tables that claims refer to
measured  measured figures and verdicts, as docs/claims/measured.json has them
measure   figures of claims from finished comparisons
kept      runs whose counts are kept, so that seeds can be added later
records   figures of claims from files of analyses
page      docs/claims.md
tables    tables and pictures of kept runs in docs/results
which     one table of all methods, docs/which-method.md
proof     one claim of each method, measured in minutes
"""
