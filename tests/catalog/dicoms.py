"""Small real DICOM files, written by the tests."""

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CR = "1.2.840.10008.5.1.4.1.1.1"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
PR = "1.2.840.10008.5.1.4.1.1.11.1"


def dicom(uid: str, *, shape: tuple[int, int] | None = (8, 6), bits: int = 12, **tags: Any) -> bytes:
    """The bytes of a film whose pixels follow from its UID; without pixels where there is no shape."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = tags.pop("SOPClassUID", CR)
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.SOPInstanceUID = uid
    dataset.Modality = "CR"
    if shape is not None:
        dtype = np.uint16 if bits > 8 else np.uint8
        dataset.Rows, dataset.Columns = shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = dtype().itemsize * 8, bits, bits - 1
        dataset.PixelRepresentation = 0
        seed = int.from_bytes(uid.encode()[-8:], "little")
        dataset.PixelData = np.random.default_rng(seed).integers(0, 2**bits, shape).astype(dtype).tobytes()
        dataset["PixelData"].VR = "OW"
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    sink = io.BytesIO()
    dataset.save_as(sink, enforce_file_format=True)
    return sink.getvalue()
