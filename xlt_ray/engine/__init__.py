"""Everything that runs on Ray but the driver: the cluster, annotate and train steps."""
