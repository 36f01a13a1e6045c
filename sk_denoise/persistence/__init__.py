"""Files of estimators without pickles, and export of networks to ONNX.

The threat model of :func:`load`:

- A file may come from anybody: made to harm, cut off, altered, or valid with a checksum of its own.
- Loading imports nothing, calls nothing and opens no other file that the file names. Classes come from two
  lists of the library; weights go into networks that the library builds from checked parameters.
- A file that is refused raises ValueError with the reason; a file is read whole, or not at all.
- Memory is bounded: 8 MB of header, a few times the size of the file, and ``max_entries`` for a layer.
  Time is bounded: by depth, nesting, numbers of layers, windows, epochs and operations for one sample.
- Parameters and fitted state pass the checks of a fit and the schemas of their classes, so that a loaded
  estimator predicts, or refuses samples with a ValueError.
- Not promised: that its predictions are good, or that nobody replaced one valid file by another. The
  checksum finds damage; it is no signature.
"""

from sk_denoise.persistence._files import load, save
from sk_denoise.persistence._onnx import export_onnx

__all__ = ["export_onnx", "load", "save"]
