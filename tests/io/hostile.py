"""A zoo of hostile image files: small, and costly for a reader that believes them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO

import imagecodecs
import numpy as np
from PIL import Image

SIDE = 16
# Pixels that the readers of these files are asked to accept.
MAX_PIXELS = 10**6
# Bytes in a part of 16 x 16 pixels after decompression.
SURPLUS = 2**25
BIG = 12_000
# Compressions of a TIFF by the kind of their parts.
IMAGES = {
    "PNG": (34933,),
    "JPEG": (6, 7, 33007, 34892),
    "JPEG 2000": (33003, 33004, 33005, 34712),
    "WebP": (34927, 50001),
    "LERC": (34887,),
    "JPEG XR": (22610, 34934),
    "JPEG XL": (50002, 52546),
}
BYTES = {
    "deflate": (8, 32946, 50013),
    "zstd": (34926, 50000),
    "LZW": (5,),
    "LZMA": (34925,),
    "PackBits": (32773,),
}


# Parts ---------------------------------------------------------------------------------------------------


def png(width, height, rows=0, extra=b""):
    """Return a PNG that claims a size, and holds some black rows."""
    data = zlib.compress(bytes(rows * (width + 1)), 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(name, data):
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def saved(kind, side=SIDE, mode="RGB", **options):
    """Return a small file by Pillow."""
    stream = BytesIO()
    Image.new(mode, (side, side), 7 if mode == "L" else (7, 8, 9)).save(stream, kind, **options)
    return stream.getvalue()


def jpeg(side, scans=0):
    """Return a gray JPEG that claims a size, with further scans of no content."""
    data = saved("JPEG", mode="L", progressive=bool(scans))
    header = struct.pack(">BHH", 8, SIDE, SIDE)
    assert header in data
    data = data.replace(header, struct.pack(">BHH", 8, side, side))
    # Scans of the highest frequencies, with a table of one code that ends all blocks of a row of the image.
    table = b"\xff\xc4" + struct.pack(">HB", 19 + 1, 0x10) + bytes([1] + [0] * 15) + b"\xe0"
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 63, 0x10) + b"\0" * 8
    return data[:-2] + (table + scan) * scans + b"\xff\xd9"


def jpeg2000(side, tile=None, decoy=False, precincts=False):
    """Return a JPEG 2000 that claims a size."""
    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((SIDE, SIDE), np.uint8), codecformat="j2k", level=0))
    struct.pack_into(">IIIIII", data, 8, side, side, 0, 0, tile or side, tile or side)
    if precincts:
        place = data.index(b"\xff\x52")
        (length,) = struct.unpack_from(">H", data, place + 2)
        levels = data[place + 9]
        data[place + 4] |= 1
        struct.pack_into(">H", data, place + 2, length + levels + 1)
        end = place + 2 + length
        data[end:end] = bytes([0x11] * (levels + 1))
    if not decoy:
        return bytes(data)
    container = bytearray(imagecodecs.jpeg2k_encode(np.zeros((SIDE, SIDE), np.uint8), codecformat="jp2"))
    end = container.index(b"jp2c") - 4
    small = container[end + 8 :]
    extra = struct.pack(">I4s", 8 + 16 + len(small), b"uuid") + bytes(16) + bytes(small)
    return bytes(container[:end]) + extra + struct.pack(">I4s", 8 + len(data), b"jp2c") + bytes(data)


def webp(side, canvas=0):
    """Return a lossless WebP that claims a size, in a canvas of another one."""
    data = bytearray(saved("WEBP", lossless=True))
    place = data.index(b"VP8L")
    (bits,) = struct.unpack_from("<I", data, place + 9)
    struct.pack_into("<I", data, place + 9, (bits & ~0xFFFFFFF) | (side - 1) | (side - 1) << 14)
    if canvas:
        size = struct.pack("<HBHB", canvas - 1, 0, canvas - 1, 0)
        data[12:12] = b"VP8X" + struct.pack("<II", 10, 0) + size
        struct.pack_into("<I", data, 4, len(data) - 8)
    return bytes(data)


def webp_frames(n):
    """Return an animation of many frames."""
    frame = (
        b"ANMF"
        + struct.pack("<I", 16 + 34)
        + bytes(16)
        + saved("WEBP", lossless=True)[12:46].ljust(34, b"\0")
    )
    body = b"WEBPVP8X" + struct.pack("<IIHBHB", 10, 2, SIDE - 1, 0, SIDE - 1, 0) + frame * n
    return b"RIFF" + struct.pack("<I", len(body)) + body


@cache
def image_part(kind):
    """Return an encoded image that is much larger than a place of 16 x 16 pixels."""
    if kind == "PNG":
        return png(BIG, BIG, BIG)
    if kind == "JPEG":
        return jpeg(60_000)
    if kind == "JPEG 2000":
        return jpeg2000(60_000)
    if kind == "WebP":
        return webp(16_383)
    black = np.zeros((8000, 8000), np.uint8)
    if kind == "LERC":
        return imagecodecs.lerc_encode(black)
    # The encoder of JPEG XL is slow, and its codes are refused for any size.
    return (
        imagecodecs.jpegxr_encode(black[:4000, :4000])
        if kind == "JPEG XR"
        else imagecodecs.jpegxl_encode(black[:99])
    )


@cache
def byte_part(kind):
    """Return compressed bytes for many more pixels than 16 x 16."""
    if kind == "PackBits":
        return b"\x81\x00" * (SURPLUS // 128)
    encode = {
        "deflate": imagecodecs.zlib_encode,
        "zstd": imagecodecs.zstd_encode,
        "LZW": imagecodecs.lzw_encode,
        "LZMA": imagecodecs.lzma_encode,
    }
    return encode[kind](bytes(SURPLUS))


# Files ---------------------------------------------------------------------------------------------------


def tiff(parts, code=1, *, width=SIDE, height=SIDE, tile=None, tags=(), places=None, pages=1):
    """Return a TIFF of gray pages, which share their parts.

    Parameters
    ----------
    parts : list of bytes
        Data of the strips or tiles.
    code : int
        Compression.
    width, height : int
        Size of a page.
    tile : pair of int, optional
        Width and height of tiles.
    tags : sequence of tuple (tag, type, bytes)
        Further tags.
    places : list of tuple (int, int), optional
        Positions and lengths to claim, from the start of the first part on.
    pages : int
        Number of pages.
    """
    data = bytearray(8)
    first = len(data)
    positions = []
    for part in parts:
        positions.append((len(data), len(part)))
        data += part
    if places is not None:
        positions = [(first + start, length) for start, length in places]
    data += bytes(len(data) % 2)
    rows = max(1, -(-height // max(1, len(positions))))
    layout = [(322, tile[0]), (323, tile[1])] if tile else [(278, rows)]
    numbers = [(256, width), (257, height), (258, 8), (259, code), (262, 1), (277, 1), *layout]
    codes = (324, 325) if tile else (273, 279)
    entries = [(tag, 4, struct.pack("<I", value)) for tag, value in numbers]
    entries += [(codes[i], 4, b"".join(struct.pack("<I", pair[i]) for pair in positions)) for i in (0, 1)]
    replaced = {tag for tag, _, _ in tags}
    packed = b""
    entries = sorted([entry for entry in entries if entry[0] not in replaced] + list(tags))
    for tag, kind, value in entries:
        count = len(value) // {2: 1, 3: 2, 4: 4, 7: 1}[kind]
        if len(value) > 4:
            place = len(data)
            data += value + bytes(len(value) % 2)
            value = struct.pack("<I", place)
        packed += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    for page in range(pages):
        start = len(data)
        following = start + 6 + len(packed) if page < pages - 1 else 0
        if page == 0:
            data[:8] = b"II*\0" + struct.pack("<I", start)
        data += struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)
    return bytes(data)


def gif(frames=1, side=SIDE, frame_side=None, tiny_blocks=0, frame=None):
    """Return a GIF of many frames of one pixel, or of one size."""
    codes = b"\x02\x02\x44\x01\0" if not tiny_blocks else b"\x02" + b"\x01\x44" * tiny_blocks + b"\0"
    size = frame_side or 1
    body = b"," + struct.pack("<HHHHB", 0, 0, size, size, 0) + codes
    start = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    first = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return start + first * (frames > 1) + body * max(1, frames - 1) + b";"


@cache
def avif():
    """Return an AVIF of 4000 x 4000 pixels that claims to have 16 x 16."""
    data = imagecodecs.avif_encode(np.zeros((4000, 4000), np.uint8), level=60, speed=10)
    size = struct.pack(">II", 4000, 4000)
    assert b"ispe\0\0\0\0" + size in data
    return data.replace(size, struct.pack(">II", SIDE, SIDE))


def dicom(pixels, syntax, *, rows=SIDE, columns=SIDE, frames=1, extra=b"", deflate=False):
    """Return a DICOM file of encapsulated frames, or of plain ones."""

    def element(group, number, kind, value):
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    meta = element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.7") + element(2, 16, b"UI", syntax.encode())
    numbers = [(2, 1), (16, rows), (17, columns), (256, 8), (257, 8), (258, 7), (259, 0)]
    body = b"".join(
        element(0x28, number, b"US", struct.pack("<H", value))
        + (
            element(0x28, 4, b"CS", b"MONOCHROME2") + element(0x28, 8, b"IS", str(frames).encode())
            if number == 2
            else b""
        )
        for number, value in numbers
    )
    if isinstance(pixels, list):
        items = b"".join(
            struct.pack("<HHI", 0xFFFE, 0xE000, len(p) + len(p) % 2) + p + bytes(len(p) % 2) for p in pixels
        )
        end = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        body += extra + struct.pack("<HH2sHI", 0x7FE0, 16, b"OB", 0, 0xFFFFFFFF) + end
    else:
        body += extra + struct.pack("<HH2sHI", 0x7FE0, 16, b"OB", 0, len(pixels)) + pixels
    if deflate:
        packer = zlib.compressobj(9, wbits=-15)
        body = packer.compress(body) + packer.flush()
    length = element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + body


EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
JPEG, JPEG_2000, RUN_LENGTHS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


def run_lengths(n):
    """Return a frame of run lengths for many more pixels than it should hold."""
    return struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * (n // 128)


def bmp_run_lengths(side):
    """Return a BMP of run lengths that hold nothing but the end."""
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 2, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1080, 0, 0, 1078) + header + bytes(1024) + b"\0\1"


def ome(planes):
    """Return a description of OME that claims many planes."""
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{SIDE}" SizeY="{SIDE}" '
        f'SizeZ="{planes}" SizeC="1" SizeT="{planes}"><TiffData IFD="0" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )
    return [(270, 2, text.encode() + b"\0")]


def number(tag, value):
    """Return a tag of one number."""
    return tag, 4, struct.pack("<I", value)


def text(value):
    """Return the description of a TIFF."""
    return [(270, 2, value.encode() + b"\0")]


def bombs() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """Return hostile files by name: suffix, and a function that makes the bytes."""
    zoo: dict[str, tuple[str, Callable[[], bytes]]] = {}
    for kinds, part in ((IMAGES, image_part), (BYTES, byte_part)):
        for kind, codes in kinds.items():
            for code in codes:
                for where, tile in (("strip", None), ("tile", (SIDE, SIDE))):
                    zoo[f"{kind} ({code}) in a {where} of a TIFF"] = (
                        ".tif",
                        lambda part=part, kind=kind, code=code, tile=tile: tiff(
                            [part(kind)], code, tile=tile
                        ),
                    )
    gray = bytes(SIDE * SIDE)
    block = b"\0\0\0\xff\xff" * 600_000
    others = {
        "TIFF: 4000 strips that are one block of 3 MB": (
            ".tif",
            lambda: tiff([b"\x78\x01" + block], 8, height=4000, places=[(0, len(block) + 2)] * 4000),
        ),
        "TIFF: 2^20 strips of one pixel": (
            ".tif",
            lambda: tiff([bytes(8)], 1, width=1, height=2**20, places=[(0, 1)] * 2**20),
        ),
        "TIFF: 600,000 strips of one pixel": (
            ".tif",
            lambda: tiff([zlib.compress(b"\0")], 8, width=1, height=600_000, places=[(0, 9)] * 600_000),
        ),
        "TIFF: strips beyond the file": (".tif", lambda: tiff([gray], 8, places=[(0, 2**31)])),
        "TIFF: tile of 60,000 x 60,000 for 16 x 16": (
            ".tif",
            lambda: tiff([byte_part("deflate")], 8, tile=(60_000, 60_000)),
        ),
        "TIFF: 1000 tiles much wider than the image": (
            ".tif",
            lambda: tiff(
                [zlib.compress(bytes(16 * 65_536))],
                8,
                width=1,
                height=16_000,
                tile=(65_536, 16),
                places=[(0, 1040)] * 1000,
            ),
        ),
        "TIFF: 65,535 channels": (
            ".tif",
            lambda: tiff([byte_part("deflate")], 8, width=1000, height=900, tags=[number(277, 65_535)]),
        ),
        "TIFF: size in the tables of JPEG": (
            ".tif",
            lambda: tiff([jpeg(SIDE)], 7, tags=[(347, 7, jpeg(60_000))]),
        ),
        "TIFF: 3000 pages that share a list of 300,000 strips": (
            ".tif",
            lambda: tiff([bytes(8)], 8, width=1, height=300_000, places=[(0, 1)] * 300_000, pages=3000),
        ),
        "TIFF: OME of 10^10 planes": (".tif", lambda: tiff([gray], tags=ome(10**5))),
        "TIFF: ImageJ of 10^9 images": (
            ".tif",
            lambda: tiff([gray], tags=text("ImageJ=1.53a\nimages=1000000000\nslices=1000000000\n")),
        ),
        "TIFF: shape of 10^9 planes": (
            ".tif",
            lambda: tiff([gray], tags=text('{"shape": [1000000000, 16, 16]}')),
        ),
        "TIFF: claims 65,000 x 65,000": (
            ".tif",
            lambda: tiff([byte_part("deflate")], 8, width=65_000, height=65_000),
        ),
        "TIFF: million segments in the tables of JPEG": (
            ".tif",
            lambda: tiff(
                [jpeg(SIDE)], 7, tags=[(347, 7, b"\xff\xd8" + b"\xff\xfe\x00\x02" * 10**6 + b"\xff\xd9")]
            ),
        ),
        "TIFF: description by ImageJ of 20 MB": (
            ".tif",
            lambda: tiff([gray], tags=text("ImageJ=1\n" + "images=1\n" * 2 * 10**6)),
        ),
        "TIFF: 200,000 nested directories": (
            ".tif",
            lambda: tiff([gray], tags=[(330, 4, struct.pack("<I", 8) * 200_000)]),
        ),
        "PNG: claims 60,000 x 60,000": (".png", lambda: png(60_000, 60_000, 10)),
        "PNG: no pixels behind the header": (".png", lambda: png(1000, 1000)),
        "PNG: profile of 10 GB": (
            ".png",
            lambda: png(SIDE, SIDE, 0, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9) * 3)),
        ),
        "PNG: text of 100 MB": (
            ".png",
            lambda: png(SIDE, SIDE, 0, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9)) * 9),
        ),
        "PNG: a million chunks": (".png", lambda: png(SIDE, SIDE, SIDE, chunk(b"tEXt", b"") * 10**6)),
        "PNG: 2^31 frames": (
            ".png",
            lambda: png(SIDE, SIDE, SIDE, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        ),
        "JPEG: claims 60,000 x 60,000": (".jpg", lambda: jpeg(60_000)),
        "JPEG: 5000 scans": (".jpg", lambda: jpeg(1000, 5000)),
        "JPEG: 100,000 segments between scans": (
            ".jpg",
            lambda: jpeg(SIDE)[:-2] + b"\xff\xfe\x00\x02" * 100_000 + b"\xff\xd9",
        ),
        "JPEG of 5000 scans in a TIFF": (
            ".tif",
            lambda: tiff([jpeg(1000, 5000)], 7, width=1000, height=1000),
        ),
        "JPEG 2000: claims 60,000 x 60,000": (".j2k", lambda: jpeg2000(60_000)),
        "JPEG 2000: tiles of one pixel": (".j2k", lambda: jpeg2000(1000, 1)),
        "JPEG 2000: precincts of two pixels": (".j2k", lambda: jpeg2000(1000, precincts=True)),
        "JPEG 2000: size in another box": (".jp2", lambda: jpeg2000(60_000, decoy=True)),
        "WebP: claims 16,383 x 16,383": (".webp", lambda: webp(16_383)),
        "WebP: small canvas, large image": (".webp", lambda: webp(16_383, canvas=SIDE)),
        "WebP: 60,000 frames": (".webp", lambda: webp_frames(60_000)),
        "GIF: 500,000 frames": (".gif", lambda: gif(500_000)),
        "GIF: 10,000 frames of one pixel in 1000 x 1000": (".gif", lambda: gif(10_000, 1000)),
        "GIF: frame larger than the image": (".gif", lambda: gif(3, SIDE, 60_000)),
        "GIF: first frame of 60,000 x 60,000": (".gif", lambda: gif(1, SIDE, 60_000)),
        "GIF: 6 million blocks of one byte": (".gif", lambda: gif(tiny_blocks=6_000_000)),
        "AVIF: 4000 x 4000 in 16 x 16": (".avif", avif),
        "BMP: claims 30,000 x 30,000": (".bmp", lambda: bmp_run_lengths(30_000)),
        "BMP: run lengths of nothing": (".bmp", lambda: bmp_run_lengths(1000)),
        "BMP: 4 million empty run lengths": (
            ".bmp",
            lambda: bmp_run_lengths(1000)[:-2] + b"\1\0" * 4_000_000 + b"\0\1",
        ),
        "PNM: one number of 12 MB": (".pgm", lambda: b"P2\n1000 1000\n255\n" + b"1" * 12_000_000),
        "PNM: claims 60,000 x 60,000": (".ppm", lambda: b"P6\n60000 60000\n255\n" + bytes(99)),
        "PNM: text for a million pixels, and not there": (
            ".pgm",
            lambda: b"P2\n1000 1000\n255\n" + b"7 " * 99,
        ),
        "PNM: comment of 12 MB": (".pgm", lambda: b"P2\n1000 1000\n255\n#" + b"1" * 12_000_000),
        "DICOM: deflated 200 MB": (".dcm", lambda: dicom(bytes(2 * 10**8), DEFLATED, deflate=True)),
        "DICOM: 2^31 frames": (".dcm", lambda: dicom(gray, EXPLICIT, frames=2**31 - 1)),
        "DICOM: JPEG of 60,000 x 60,000": (".dcm", lambda: dicom([jpeg(60_000)], JPEG)),
        "DICOM: JPEG of 5000 scans": (
            ".dcm",
            lambda: dicom([jpeg(1000, 5000)], JPEG, rows=1000, columns=1000),
        ),
        "DICOM: JPEG 2000 of 60,000 x 60,000": (".dcm", lambda: dicom([jpeg2000(60_000)], JPEG_2000)),
        "DICOM: run lengths of 500 MB": (".dcm", lambda: dicom([run_lengths(5 * 10**8)], RUN_LENGTHS)),
        "DICOM: claims 65,535 x 65,535": (".dcm", lambda: dicom(gray, EXPLICIT, rows=65_535, columns=65_535)),
        "DICOM: a million elements": (
            ".dcm",
            lambda: dicom(b"", EXPLICIT, extra=struct.pack("<HH2sH", 0x29, 0x1001, b"LO", 0) * 10**6),
        ),
    }
    return zoo | others
