"""Files in the folder of a model, besides those of transformers."""

OPTIMISER = "optimiser.safetensors"
"""State of the optimiser, kept with the model of a step that a later one goes on from."""
SPAN_SETTINGS = "spans.json"
"""Settings of a span head; the folder of a model that has one is that of a tagger of spans."""

SNAPSHOT = "snapshot-"
"""Beginning of the names of weights that a training kept along its way."""

ADAPTERS, ADAPTER_SETTINGS = "adapter_model.safetensors", "adapter_config.json"
"""Of a model that is adapters of another: their weights and settings, as peft names the files."""
