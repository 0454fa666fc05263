"""Exit codes of every command: done, bad configuration or data, a failure that the same command
resumes from.
"""

DONE, BAD_CONFIG, RESUMABLE = 0, 2, 3
