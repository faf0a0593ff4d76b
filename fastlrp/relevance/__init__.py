"""The result of explain: relevance with its totals, as arrays, tables, text and other libraries' objects."""
