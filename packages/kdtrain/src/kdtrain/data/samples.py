"""Random access to samples: a place in, the decoded sample out, at one or several magnifications.

In: an index, a split or set, and where in it. Out: a LoadedSample. A tar (:mod:`kdtrain.shards.open_tars`) is opened at
the first sample that is wanted of it: its headers are walked once, by the same rules as in ``shards.tar``, and its keys
are held against the index; after that a sample costs one read per member. An image is not touched before it is asked
for, so a damaged one stops the run at the sample that needs it and not before.

``tarfile`` (and so WebDataset's own expansion of tars) is not used: it ends silently at a damaged header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, Self

from kdtrain.data.plan import SampleRef
from kdtrain.model.stain.normalise import normalise
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Location
from kdtrain.shards.models import Shard, magnification_name
from kdtrain.shards.open_tars import MAX_OPEN_TARS, tars_of
from kdtrain.shards.sample import Sample, SampleRecord, class_number, decode_sample
from kdtrain.shards.tar import SamplePlace, checked_places, read_place

if TYPE_CHECKING:
    import torch

    from kdtrain.config.phases import Decode
    from kdtrain.data.device_decode import EncodedImage
    from kdtrain.data.teacher_cache.reader import CacheReader
    from kdtrain.data.teacher_cache.view import Taught
    from kdtrain.model.stain.target import StainTarget


@dataclass(frozen=True, kw_only=True)
class PairedSample:
    """A sample: one field of a slide at every magnification that was asked for.

    Attributes:
        key: The same at every magnification.
        images: By magnification, (3, rows, columns) uint8, RGB; a view of (rows, columns, 3), so channels last
            in memory.
        label: Index into the set's classes; None in unlabelled splits.
        shard: Split and number of the shard: ``train-000003``.
        record: Provenance, at the first magnification that was asked for.
    """

    key: str
    images: dict[float, torch.Tensor]
    label: int | None
    shard: str
    record: SampleRecord

    @property
    def slide(self) -> str:
        """Name of the slide."""
        return self.record.slide

    @property
    def patient(self) -> str:
        """Name of the patient."""
        return self.record.patient

    @property
    def sizes(self) -> dict[float, tuple[int, int]]:
        """(width, height) in pixels, by magnification."""
        return {m: (image.shape[2], image.shape[1]) for m, image in self.images.items()}

    def pin_memory(self) -> Self:
        """This sample in page-locked memory; torch's loader calls the method by name."""
        return replace(self, images={m: image.pin_memory() for m, image in self.images.items()})


@dataclass(frozen=True, kw_only=True)
class LoadedSample(PairedSample):
    """A sample as training and evaluation take it.

    Attributes:
        view: Number of its augmentation draw.
        taught: What a teacher cache holds of that view; None where there is no cache.
        encoded: By magnification, where the device decodes, and ``images`` is empty; else empty.
        stain: That the images were brought into; None where they are as stored.
        stain_left: Whether one of them was left as it is: it has too little tissue to estimate a stain by.
    """

    view: int = 0
    taught: Taught | None = None
    encoded: Mapping[float, EncodedImage] = field(default_factory=dict)
    stain: StainTarget | None = None
    stain_left: bool = False

    @property
    def sizes(self) -> dict[float, tuple[int, int]]:
        """(width, height) in pixels, by magnification."""
        return super().sizes | {m: (image.width, image.height) for m, image in self.encoded.items()}

    @property
    def pixels(self) -> int:
        """Number of pixels of all its images together."""
        return sum(width * height for width, height in self.sizes.values())

    def pin_memory(self) -> Self:
        """This sample in page-locked memory; torch's loader calls the method by name."""
        return replace(
            super().pin_memory(),
            encoded={m: image.pin_memory() for m, image in self.encoded.items()},
            taught=None if self.taught is None else self.taught.pin_memory(),
        )


class SampleReader:
    """Reads the samples of a split or set in any order.

    The tables of places of its tars are kept (some 0.5 KB a sample). A copy sent to another process opens its own
    files.

    Args:
        index: The opened set.
        split: A split or a set.
        magnifications: One or more; the images of a sample at all of them are read together.
        teacher_cache: Where the teacher's view of each sample is read, if it is not computed.
        decode: "device" leaves JPEG data as they are once their headers are checked.
        stain: To bring images into; None for none. With "device" there is none: pixels are not there yet.
        max_open_tars: Local tars held open at a time, over all magnifications.

    Raises:
        ShardError: The set does not hold the split or a magnification.
        UsageError: The shard cache cannot be written.
    """

    def __init__(
        self,
        index: Index,
        split: str,
        magnifications: Sequence[float],
        *,
        teacher_cache: CacheReader | None = None,
        decode: Decode = "cpu",
        stain: StainTarget | None = None,
        max_open_tars: int = MAX_OPEN_TARS,
    ) -> None:
        assert magnifications
        assert stain is None or decode == "cpu", "whoever asks for both was refused"
        for magnification in magnifications:
            index.require(magnification=magnification)
        self.index = index
        self.split = split
        self.magnifications = tuple(magnifications)
        self.shards = index.shards_of(split)
        self._teacher_cache = teacher_cache
        self._decode = decode
        self._stain = stain
        self._tars = tars_of(index, max_open=max_open_tars)
        self._places: dict[Location, tuple[SamplePlace, ...]] = {}

    def load(self, ref: SampleRef) -> LoadedSample:
        """Read, check and decode one sample at every magnification.

        Raises:
            ShardError: F07 where a tar has gone since the index was opened, F11 to F22 at the first rule that is
                broken, F23 where the magnifications disagree on slide, patient or label; T06 to T16 where the teacher
                cache breaks one.
            UsageError: A JPEG whose colours a device may read otherwise is to be decoded there.
        """
        import torch

        shard, position = self.shards[ref.shard].stored_at(ref.position)
        samples = {m: self.read(shard, position, m) for m in self.magnifications}
        first = samples[self.magnifications[0]]
        for magnification, sample in samples.items():
            _check_paired(first, sample, self.index.path_of(shard, magnification))
        pixels = {m: sample.image for m, sample in samples.items() if sample.image is not None}
        stain_left = False
        if self._stain is not None:
            normalised = {m: normalise(image, self._stain, m) for m, image in pixels.items()}
            pixels = {m: one.image_HWC for m, one in normalised.items()}
            stain_left = any(one.left for one in normalised.values())
        images = {m: torch.from_numpy(image).permute(2, 0, 1) for m, image in pixels.items()}
        encoded = {} if images else {m: self._encoded(shard, sample, m) for m, sample in samples.items()}
        taught = None
        if self._teacher_cache is not None:
            taught = self._teacher_cache.load(shard, position, ref.view, key=first.key)
        return LoadedSample(
            key=first.key,
            images=images,
            label=first.label,
            shard=f"{shard.split}-{shard.number:06d}",
            record=first.record,
            view=ref.view,
            taught=taught,
            encoded=encoded,
            stain=self._stain,
            stain_left=stain_left,
        )

    def keys(self, shard: int) -> tuple[str, ...]:
        """Keys of a shard's samples in order, by its position in the split or set; its tar's headers alone are read.

        Raises:
            ShardError: The tar cannot be fetched, or breaks F07 or F11 to F17.
        """
        magnification = min(self.magnifications)  # whose tar is the smallest
        part = self.shards[shard]
        stored, _ = part.stored_at(0)
        path = self.index.path_of(stored, magnification)
        with self._opened(stored, magnification, path):
            places = self._places[path]
            return tuple(places[part.stored_at(i)[1]].key for i in range(part.samples))

    def labels(self, shard: int) -> tuple[int | None, ...]:
        """Class numbers of a shard's samples in order, by its position in the split or set; no image is read.

        Raises:
            ShardError: As for :meth:`keys`; F16 or F20 where a label is missing or none.
        """
        magnification = min(self.magnifications)
        part, index = self.shards[shard], self.index.stored
        found: list[int | None] = []
        for i in range(part.samples):
            stored, position = part.stored_at(i)
            if not index.document.splits[stored.split].labelled:
                found.append(None)
                continue
            path = self.index.path_of(stored, magnification)
            with self._opened(stored, magnification, path) as tar:
                place = self._places[path][position]
                members = {name: member for name, member in place.members.items() if name == "cls"}
                raw = read_place(tar, path, replace(place, members=members))
            found.append(class_number(raw, index.document.classes))
        return tuple(found)

    def ensure(self, shard: int, wanted: Callable[[], bool]) -> None:
        """Have a shard at hand, by its position in the split or set: it is fetched if it lies elsewhere.

        Args:
            shard: Its position.
            wanted: Asked before it is fetched, when nobody else can be fetching it any more.

        Raises:
            ShardError: It cannot be fetched.
        """
        self._tars.ensure(self.shards[shard], self.magnifications, wanted)

    def keep(self, shard: int) -> None:
        """Have a shard that was fetched count as just read, by its position in the split or set."""
        self._tars.keep(self.shards[shard], self.magnifications)

    def close(self) -> None:
        """Close all tars; the next sample opens its own again."""
        self._tars.close()
        if self._teacher_cache is not None:
            self._teacher_cache.close()

    def read(self, shard: Shard, position: int, magnification: float) -> Sample:
        """Read, check and decode one image of a sample, with its label and its record.

        Raises:
            ShardError: As for :meth:`load`, but for F23.
        """
        shard, position = shard.stored_at(position)
        path = self.index.path_of(shard, magnification)
        with self._opened(shard, magnification, path) as tar:
            raw = read_place(tar, path, self._places[path][position])
        size = self.index.size_of(shard, position, magnification)
        return decode_sample(
            raw,
            self.index.stored,
            split=shard.split,
            magnification=magnification,
            size=size,
            pixels=self._decode == "cpu",
        )

    def _encoded(self, shard: Shard, sample: Sample, magnification: float) -> EncodedImage:
        # Here, because it brings torch.
        from kdtrain.data.device_decode import encoded_image

        size = sample.record.image
        path = self.index.path_of(shard, magnification)
        return encoded_image(sample.data, size=(size.width, size.height), path=path, key=sample.key)

    @contextmanager
    def _opened(self, shard: Shard, magnification: float, path: Location) -> Iterator[BinaryIO]:
        """A tar whose places are known."""
        try:
            with self._tars.borrow(shard, magnification) as tar:
                if path not in self._places:
                    self._places[path] = checked_places(tar, path, shard)
                yield tar
        except OSError as error:
            remedy = "check that the disk is there and the file may be read"
            reason = f"the file cannot be read: {error.strerror or error}"
            raise ShardError("F07 file-present", path, reason, remedy=remedy) from error


def _check_paired(first: Sample, other: Sample, path: Location) -> None:
    assert first.key == other.key, "both tars have the keys of the index"
    given, wanted = (
        (sample.record.slide, sample.record.patient, sample.record.label) for sample in (other, first)
    )
    if given != wanted:
        name = magnification_name(first.record.magnification)
        reason = f"slide, patient and label are {given} here, but {wanted} at {name}"
        raise ShardError("F23 record-paired", path, reason, member=other.key)
