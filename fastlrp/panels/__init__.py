"""Windows of rows: what of a panel, or a batch, everything above works on; and the door where frames are checked."""
