"""Evidence on explanations: whether one is true of its network, and whether rules agree."""
