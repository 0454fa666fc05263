"""One source of rows per language and split.

base           what a source is
files          folders of a benchmark; the endings of files
columns        a word per line, with its tag in another column
layouts        what all layouts of lines share, and JSONL
conll          CoNLL-U and OntoNotes
absa_xml       reviews of SemEval
tables         CSV, TSV and Parquet
records        rows with named fields
in_memory      rows that are given as values
json_array     rows of one JSON array
spans          entities that are marked in a text
votes          labels of the user's labellers, with gaps
words          where the words of a text are
faults         why rows could not be read
rows           a row checked, or turned down with a reason
lines          lines of a packed or plain file, bounded
hub            datasets of the hub
globs          patterns of files, here or in a bucket
user_files     files of the user: what they hold
user_source    the same as a source
subsets        parts of a source: held out, limited, with other class shares
few            a few labelled rows of a target, and text without them
"""
