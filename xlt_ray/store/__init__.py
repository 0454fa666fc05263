"""Results that last: artifacts, and the folders of runs.

artifacts     the store: commits, look-up by fingerprint
attempt       a result in the making
beside        an artifact together with what it adds to
manifest      the file that makes a folder an artifact
files         reading and writing on any pyarrow file system
parquet       opens Parquet files that run no code
fingerprint   the hash of what a step depends on
step_task     what a step computes, as data
libraries     which versions count in it
run_folder    a run: configuration, ledger, events, report, model
lease         keeps two drivers off one run
shapes        what the JSON files of a run must hold
machine       which processes can be seen from here
fault_points  the moments at which work becomes durable
"""
