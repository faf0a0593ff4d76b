"""Turn a network into a program over the rows of a tile, and packed weights. Plain Python, no Numba.

``instructions`` is the vocabulary; ``rows`` hands out rows and packs weights; ``lstm``, ``bidirectional`` and ``dense``
write a layer's way forward, ``rules`` and ``gradients`` a rule's way back; ``inference`` and ``training`` put programs
together.
"""
