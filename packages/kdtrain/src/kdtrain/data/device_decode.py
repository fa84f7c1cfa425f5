"""JPEG data in, pixels on the network's device out: what ``--decode device`` does instead of the loader's processes.

On a GPU torchvision hands the data to nvJPEG; on a CPU to its own libjpeg-turbo, in the training process, which is how
the tests run the same path. JPEG leaves rounding to the decoder, so pixels may differ by a few grey levels, and a run
records who decoded.

How strict it is. The loader's processes check headers as always (:mod:`kdtrain.shards.sample`), and here that the data
begins as JFIF, which leaves no doubt about its colours, and ends with the end marker, so that what was cut off or ends
in zeros is refused by name, whatever a decoder would make of it. What lies between is the decoder's to judge: a fault
that it reports is refused by name too. What nvJPEG reports, and what it overlooks, has not been measured yet.

torchvision's decoder on a GPU may write to memory that work queued earlier is still to read, since its own stream does
not wait for it (https://github.com/pytorch/vision/pull/9606, with a reproduction). Hence the wait before every call.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdtrain.config.phases import Decode
from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Location

_START = b"\xff\xd8\xff\xe0"
"""Start of image, and the segment that JFIF wants first; its name follows after two bytes of length."""
_END = b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """A JPEG image whose header was checked, not decoded yet.

    Attributes:
        data_N: (bytes,) uint8, on the CPU: decoders read it there.
        width: Pixels, as the index states.
        height: Likewise.
        path: Tar that it is from, for messages.
        key: Key of the sample.
    """

    data_N: Tensor
    width: int
    height: int
    path: Location
    key: str

    def pin_memory(self) -> EncodedImage:
        """The image in page-locked memory, from where a GPU fetches it without waiting."""
        return replace(self, data_N=self.data_N.pin_memory())


def check_decode(decode: Decode, index: Index) -> None:
    """Refuse to decode on the device what no device decodes.

    Raises:
        UsageError: The set's images are not JPEG.
    """
    kind = index.document.image.format
    if decode == "device" and kind != "jpeg":
        raise UsageError(
            f"--decode device decodes JPEG, and --shards {index.directory} holds {kind} images; use --decode cpu"
        )


def encoded_image(data: bytes, *, size: tuple[int, int], path: Location, key: str) -> EncodedImage:
    """JPEG data as the device takes it, its beginning and end checked.

    Args:
        data: A sample's ``.jpg``, its header checked against the index.
        size: (width, height) in pixels.
        path: The tar.
        key: Key of the sample.

    Raises:
        ShardError: F22 where the end is missing.
        UsageError: The data does not begin as JFIF.
    """
    if data[:4] != _START or data[6:11] != b"JFIF\0":
        raise UsageError(
            f"{path}, {key!r}: a JPEG without a JFIF header, whose colours decoders read in different ways; "
            "use --decode cpu"
        )
    if data[-2:] != _END:
        raise ShardError("F22 image-data", path, "the JPEG is cut off: it ends without its end marker", key)
    tensor_N = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return EncodedImage(data_N=tensor_N, width=size[0], height=size[1], path=path, key=key)


def decode_images(images: Sequence[EncodedImage], device: torch.device) -> list[Tensor]:
    """Pixels (3, height, width) uint8 RGB, on the device.

    Raises:
        ShardError: F22 for the first image that cannot be decoded, or decodes to another size.
        UsageError: This torchvision cannot decode on the device.
    """
    try:
        pixels = _decode([image.data_N for image in images], device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "not compiled with" in str(error):
            raise UsageError(f"--decode device: {_reason(error)}; use --decode cpu") from error
        raise _first_fault(images, device, error) from error
    for image, image_CHW in zip(images, pixels, strict=True):
        if image_CHW.shape != (3, image.height, image.width):
            reason = f"it decodes to {tuple(image_CHW.shape)}, not (3, {image.height}, {image.width})"
            raise ShardError("F22 image-data", image.path, reason, image.key)
    return pixels


def _first_fault(images: Sequence[EncodedImage], device: torch.device, error: RuntimeError) -> ShardError:
    """The decoder does not say which image of several it means."""
    for image in images:
        try:
            _decode([image.data_N], device)
        except RuntimeError as own:
            reason = f"the image cannot be decoded: {_reason(own)}"
            return ShardError("F22 image-data", image.path, reason, image.key)
    keys = ", ".join(image.key for image in images)
    return ShardError(
        "F22 image-data", images[0].path, f"the images cannot be decoded: {_reason(error)}", keys
    )


def _decode(data: list[Tensor], device: torch.device) -> list[Tensor]:
    # Here, because importing torchvision takes longer than all of the rest.
    from torchvision.io import ImageReadMode, decode_jpeg

    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    with warnings.catch_warnings():
        # Deprecated since torchvision 0.29 in favour of torchcodec, which would be another dependency.
        warnings.simplefilter("ignore", DeprecationWarning)
        pixels: list[Tensor] = decode_jpeg(data, mode=ImageReadMode.RGB, device=device)
    return pixels


def _reason(error: RuntimeError) -> str:
    """The error's first line, without the place in the decoder's source that it begins with."""
    return re.sub(r"^.*\.cpp:\d+, ", "", str(error).partition("\n")[0])
