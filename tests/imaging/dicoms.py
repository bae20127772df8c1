"""DICOM files written by hand, for tests."""

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def film(
    pixels: np.ndarray | None = None,
    syntax: str = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    **tags: Any,
) -> bytes:
    """The bytes of a DICOM file.

    Args:
        pixels: Stored values [h, w], [frames, h, w] or [h, w, 3]; tags that follow from them are set.
        syntax: Transfer syntax.
        frames: Compressed frames that stand in place of the pixels.
        tags: Further tags, which go before those that follow; a value of None takes a tag away.
    """
    data = Dataset()
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = "1.2.3.4"
    if pixels is not None:
        colour = pixels.shape[-1] == 3
        data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
        data.SamplesPerPixel = 3 if colour else 1
        data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            data.PlanarConfiguration = 0
        data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        if pixels.ndim - colour == 3:
            data.NumberOfFrames = len(pixels)
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        stored = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        data.PixelData = stored if frames is None else encapsulate(frames)
        data["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
        if frames is not None:
            data["PixelData"].is_undefined_length = True
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    if "BitsStored" in data:
        data.HighBit = data.BitsStored - 1
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    sink = io.BytesIO()
    data.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


def lut(first: int, bits: int, entries: list[int]) -> list[Dataset]:
    """A look-up table as the one item of a sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return [item]
