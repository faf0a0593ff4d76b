"""Reads and writes Keras files. Only this package knows HDF5 and Keras; neither Keras nor TensorFlow is needed."""

from __future__ import annotations

from fastlrp.keras.describe import FileDescription, LayerDescription, describe_keras
from fastlrp.keras.read import read_keras
from fastlrp.keras.write import write_keras

__all__ = ["FileDescription", "LayerDescription", "describe_keras", "read_keras", "write_keras"]
