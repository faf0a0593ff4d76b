"""What explain returns: relevance with its totals, as arrays, tables, text and what other libraries read."""
