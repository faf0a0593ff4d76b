"""Panels in files: read, explained and written block by block, in bounded memory."""
