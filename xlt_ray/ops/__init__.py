"""Pure tensor and array functions, one file per family of equations."""
