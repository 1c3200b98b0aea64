"""Networks as folders: weights as safetensors, everything else as JSON, and nothing that can run code."""
