"""The bytes of a file, of whatever format and depth, as uint8 grey or RGB."""

import numpy as np
from jaxtyping import UInt8

from neuroconcepts_ray.imaging.bounds import check_bytes
from neuroconcepts_ray.imaging.dicom import is_dicom, looks_bare
from neuroconcepts_ray.imaging.dicom_pixels import decode_dicom
from neuroconcepts_ray.imaging.netpbm import decode_netpbm, is_netpbm
from neuroconcepts_ray.imaging.npz import decode_npz, is_zip
from neuroconcepts_ray.imaging.raster import decode_raster, is_raster
from neuroconcepts_ray.imaging.undecodable import Undecodable as Undecodable


def decode(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Decode one image: JPEG, PNG, TIFF, DICOM, NPZ, PGM or PPM, told apart by their bytes, never by a name.

    Grey comes back as [h, w]; so does colour whose three channels are equal everywhere. Alpha, a transparent
    palette entry and a transparent colour are composited on black. CMYK and YCCK become RGB. Grey deeper than 8 bits
    is scaled by the full range that its header declares (0…65535 → 0…255, rounded; of a 12-bit TIFF 0…4095; of a PGM
    its largest value), never by the values that occur; of 16-bit colour the high byte is kept. How the grey of DICOM
    is shown is told by :func:`grey.shown`. Of several pages, frames or images the first is taken. The orientation that
    EXIF tells is applied: photographs of skin carry it, films do not.

    Args:
        data: The file's bytes.

    Returns:
        uint8 [h, w] or [h, w, 3].

    Raises:
        Undecodable: The bytes will never decode; ``cause`` says why.
    """
    if not data:
        raise Undecodable("empty file")
    check_bytes(len(data))
    if is_dicom(data):  # first, for the preamble of a DICOM file may be the head of a TIFF (PS3.10 §7.1)
        return decode_dicom(data)
    if is_raster(data):
        return decode_raster(data)
    if is_zip(data):
        return decode_npz(data)
    if is_netpbm(data):
        return decode_netpbm(data)
    raise Undecodable("DICOM without file meta" if looks_bare(data) else "not an image")
