"""Neural modules: encoders with the heads that the methods train."""
