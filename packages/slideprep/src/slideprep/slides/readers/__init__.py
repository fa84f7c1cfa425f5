"""A slide's file in, its pixels as strips of RGB out: the strictest reader that can read it.

Reading order: ``choose`` (which reader opens which file). Before a TIFF is opened: ``tiff_facts`` (what its pages say
of themselves), ``tiff_check`` and ``tiff_page_list`` with ``ome`` (whether that is a stained slide that the readers
give as it is), ``tiff_values`` (a look at samples where tags do not tell). After it: ``holes`` and ``missing_glass``
(tiles that are not stored), ``believed_levels`` with ``level_patterns`` (which of its images are levels),
``stated_scale`` with ``ome_scale`` (which of its scales counts). Strict tile readers: ``tiff_pages`` (where tiles lie),
``tile_codecs`` and ``jpeg2000`` (how one tile is decoded), ``tiled`` (tiles to strips), ``tiff`` (TIFF and SVS, held
against OpenSlide), ``dicom_kind``, ``dicom_frames``, ``dicom_colours`` and ``dicom`` (DICOM). The rest: ``openslide``
with ``openslide_warnings``, ``dicom_sparse`` (frames that are left out), and ``plain`` with ``plain_looks`` (JPEG, PNG,
one-level TIFF).
"""
