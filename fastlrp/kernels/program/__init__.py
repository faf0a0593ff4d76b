"""From a network to what machines run: a program over the rows of a tile, and packed weights. Plain Python, no Numba.

``instructions`` is the vocabulary; ``rows`` hands out rows and packs weights; ``lstm``, ``bidirectional`` and ``dense``
write what a layer does forward; ``rules`` how a rule walks back; ``inference`` and ``training`` put programs together.
"""
