"""The private and old names of neural_tangents that scripts import, with what they did."""
