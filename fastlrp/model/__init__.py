"""Networks as values that compute nothing: layers, which hold checked arrays, and chains of layers."""
