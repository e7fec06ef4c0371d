"""Small OCT files for tests, written by the published headers and never by the code under test."""

import struct
from pathlib import Path

import numpy as np

VOL_OUTSIDE = np.float32(3.4028235e38)  # what Heidelberg writes where registration left no scan


def write_vol(path: Path, values: np.ndarray, *, patient=b"P-17", eye=b"OD", pattern=3, slo=(8, 6)) -> Path:
    """A Heidelberg .vol export of `values`, (slices, H, W) float32 reflectance; 0.0114, 0.24 and 0.0039 mm."""
    slices, height, width = values.shape
    slice_header = 256 + 2 * width * 4  # with two segmentation lines
    header = bytearray(2048)
    struct.pack_into("<12sIII", header, 0, b"HSF-OCT-103", width, slices, height)
    struct.pack_into("<ddd", header, 24, 0.0114, 0.24, 0.0039)
    struct.pack_into("<IIdd", header, 48, slo[0], slo[1], 0.01, 0.01)
    struct.pack_into("<Id4s", header, 72, 30, 0.5, eye)
    struct.pack_into("<QiI", header, 88, 130_000_000_000_000_000, pattern, slice_header)
    struct.pack_into("<16s16s", header, 104, b"2390", b"")
    struct.pack_into("<I24sd", header, 136, 5, patient, 20_000.0)
    struct.pack_into("<I24sd", header, 172, 6, b"V-1", 40_000.0)
    parts = [bytes(header), bytes(slo[0] * slo[1])]
    for number in range(slices):
        each = bytearray(slice_header)
        struct.pack_into("<12sIdddd", each, 0, b"HSF-BS-103", slice_header, 0.0, 0.24 * number, 5.8, 0.24 * number)
        struct.pack_into("<IIf", each, 48, 2, 256, 25.0)
        struct.pack_into(f"<{2 * width}f", each, 256, *range(2 * width))
        parts += [bytes(each), values[number].astype("<f4").tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def cirrus_name(width: int, slices: int, patient="P1", eye="OS", kind="cube_z") -> str:
    return f"{patient}_Macular Cube {width}x{slices}_1-31-2020_10-11-12_{eye}_sn1_{kind}.img"


def write_img(folder: Path, volume: np.ndarray, **name) -> Path:
    """A Zeiss Cirrus cube of `volume`, (slices, H, W) uint8 upright: stored turned by 180 degrees, last slice first."""
    path = folder / cirrus_name(volume.shape[2], volume.shape[0], **name)
    path.write_bytes(volume[::-1, ::-1, ::-1].tobytes())
    return path


def write_dicom(path: Path, frames: np.ndarray, *, spacing=(0.0039, 0.0114), gap=0.25, **elements) -> Path:
    """A DICOM ophthalmic tomography image of `frames`: (H, W), or (slices, H, W) with functional groups."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
    file.SOPInstanceUID = generate_uid()
    file.Modality = "OPT"
    file.PatientID, file.ImageLaterality = "P-17", "L"
    file.SeriesInstanceUID, file.InstanceNumber = "1.2.3", 1
    file.Rows, file.Columns = frames.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = frames.dtype.itemsize * 8
    file.BitsAllocated = file.BitsStored = bits
    file.HighBit, file.PixelRepresentation = bits - 1, 0
    file.PixelData = frames.tobytes()
    measures = Dataset()
    if spacing:
        measures.PixelSpacing, measures.SliceThickness = list(spacing), 0.3
    if frames.ndim == 3:
        file.NumberOfFrames = len(frames)
        shared = Dataset()
        shared.PixelMeasuresSequence = [measures]
        file.SharedFunctionalGroupsSequence = [shared]
        file.PerFrameFunctionalGroupsSequence = [_at(gap * number) for number in range(len(frames))]
    else:
        file.update(measures)
    for name, value in elements.items():
        setattr(file, name, value)
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.save_as(path, enforce_file_format=True)
    return path


def _at(millimetres: float):
    from pydicom.dataset import Dataset

    frame, plane = Dataset(), Dataset()
    plane.ImagePositionPatient = [0, millimetres, 0]
    frame.PlanePositionSequence = [plane]
    return frame


def write_topcon(path: Path, volume: np.ndarray) -> Path:
    """A Topcon .fda or .fds file of `volume`, (slices, H, W) uint16, with patient, eye and spacing."""
    slices, height, width = volume.shape
    pixels = np.ascontiguousarray(volume).tobytes()
    if path.suffix == ".fda":
        name, more = b"@IMG_MOT_COMP_03", b""
    else:
        name, more = b"@IMG_SCAN_03", b""
    image = struct.pack("<BIIIIBI", 2, width, height, 16, slices, 0, len(pixels)) + more + pixels
    patient = struct.pack("<32s32s32s8sB3H", b"T-9", b"Ada", b"Byron", b"", 2, 1980, 1, 2).ljust(900, b"\0")
    capture = struct.pack("<BBI100s6H", 1, 2, 3, b"label", 2020, 1, 31, 10, 11, 12)
    scan = struct.pack("<IIIdddddBB", 0, 0, 0, 6.0, 3.0, 2.6, 0.0, 0.0, 0, 0)
    chunks = {name: image, b"@PATIENT_INFO_02": patient, b"@CAPTURE_INFO_02": capture, b"@PARAM_SCAN_04": scan}
    body = b"".join(
        struct.pack("<B", len(key)) + key + struct.pack("<I", len(value)) + value for key, value in chunks.items()
    )
    path.write_bytes(struct.pack("<4s3sII", b"FOCT", b"FDA", 2, 1) + body + b"\0")
    return path


def write_e2e(path: Path, codes: np.ndarray, *, patient=b"P-17", eye=b"R", pattern=3, skip=()) -> Path:
    """A Heidelberg .e2e file of one series: `codes`, (slices, H, W) uint16, 10 bits of mantissa below 6 of exponent.

    As eyepy's ``e2e_format`` describes it: version, header, one chunk of folder headers, then the data of each. Slices
    are 0.5 degrees apart and 6 wide; those in `skip` are left out.
    """
    slices, height, width = codes.shape
    whose = struct.pack("<31s66sIc25s", b"Ada", b"Byron", 0, b"F", patient).ljust(131, b"\0")
    folders = [((1, -1, -1, -1), 9, whose), ((1, 2, 3, -1), 11, bytes(14) + eye + bytes(12))]
    for number in sorted(set(range(slices)) - set(skip)):
        place = (1, 2, 3, 2 * number)
        y = 0.5 * number
        scan = struct.pack("<3I4f", 0, height, width, -3.0, y, 3.0, y)
        scan += struct.pack("<IfffIffI", 0, 0.0, 0.0039, 0.0, 0, 0.0, 0.0, 0)
        scan += struct.pack("<4IffIQIff", width, slices, number, pattern, 0.0, y, 0, 10**17, 1, 25.0, 0.0)
        folders.append((place, 10004, scan.ljust(428, b"\0")))
        pixels = codes[number].astype("<u2").tobytes()
        image = struct.pack("<5I", len(pixels), 35652097, height * width, height, width)
        folders.append((place, 1073741824, image + pixels))
    start = 36 + 52 + 52 + 44 * len(folders)
    headers, data = b"", b""
    for ids, kind, content in folders:
        at = start + len(data)
        headers += struct.pack("<4I4iHHII", 0, at, len(content), 0, *ids, 1, 0, kind, 0)
        data += struct.pack("<12s5I4iHHII", b"MDbData", 0, 0, 0, len(content), 0, *ids, 1, 0, kind, 0) + content
    version = struct.pack("<12sI20x", b"CMDb", 100)
    chunks = (struct.pack("<12sI20x4I", b"MDbDir", 100, count, 36, 88, 0) for count in (0, len(folders)))
    path.write_bytes(version + b"".join(chunks) + headers + data)
    return path
