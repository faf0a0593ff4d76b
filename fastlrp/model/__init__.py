"""Networks as values that compute nothing: layers, which hold checked arrays, and the chain of them."""
