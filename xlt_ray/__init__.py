"""Self-training for zero-shot cross-lingual transfer, as recipes of durable steps on Ray."""

__version__ = "0.1.0"
