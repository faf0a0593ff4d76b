"""Windows of rows, the form of a panel or a batch that everything above works on; and the checks of frames."""
