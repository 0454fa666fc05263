"""Text and labels: benchmarks, readers, the embedded benchmark, tokenisation and batching."""
