import io

import numpy as np
import pytest
from PIL import Image

from growlattice.datasets import _tiny_imagenet_zip, fetch_tiny_imagenet

from .conftest import LAYOUTS, VAL_LABELS, WNIDS, jpeg, official_files, write_zip


def pixels_of(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_tiny_imagenet_is_read_from_a_zip_file_or_a_folder(layout, small, tmp_path):
    files = official_files()
    (tmp_path / "source").mkdir()
    source, data_home = layout(tmp_path / "source", files), tmp_path / "home"
    dataset = fetch_tiny_imagenet(data_home=data_home, source=str(source), subset="all", download_if_missing=False)
    images = [pixels_of(content) for name, content in files.items() if name.endswith("JPEG") and name[:4] != "test"]
    assert np.array_equal(dataset.images, images)
    assert np.ptp(dataset.images[6], axis=2).max() == 0 and np.ptp(dataset.images[5], axis=2).max() > 0
    assert dataset.target.tolist() == [0, 0, 1, 1, 2, 2, *VAL_LABELS] and dataset.target.dtype == np.int64
    assert dataset.target_names.tolist() == ["goldfish", "crane, bird", "tailed frog"]
    assert [path.name for path in data_home.iterdir()] == ["tiny_imagenet_64.npz"]


def test_resized_images_are_means_of_blocks_of_coarse_ones(small, tmp_path):
    source = write_zip(tmp_path / "source.zip", official_files())
    full = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="all").images.astype(float)
    half = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="all", image_size=32).images
    blocks = full.reshape(9, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(half - blocks).mean() < 2


IMAGE = f"train/{WNIDS[1]}/images/{WNIDS[1]}_1.JPEG"
WRONG_FILES = {
    "no list of classes": ("wnids.txt", None, "it lacks wnids.txt"),
    "a class too few": ("wnids.txt", b"n00000001\nn00000002\n", "holds 2 words, of which 2 .* but 3 of those"),
    "a class too many": ("wnids.txt", b"\n".join([b"n00000001", *map(str.encode, WNIDS)]), "holds 4 words, of which 3"),
    "a class twice": ("wnids.txt", b"n00000001\nn00000002\nn00000002\n", "holds 3 words, of which 2"),
    "a class that is a path": ("wnids.txt", b"n00000001\nn00000002\n../../x\n", "holds 3 words, of which 2"),
    "a list that is no text": ("wnids.txt", b"\xff\xfe\x00", "wnids.txt holds 1 words, of which 0"),
    "no names": ("words.txt", None, "it lacks words.txt"),
    "a name too few": ("words.txt", b"n00000001\tcrane\nn00000003\tfrog\n", "lacks names of 1 classes, .*n00000002"),
    "names without tabs": ("words.txt", b"n00000001 crane\n", "words.txt has a line of one column"),
    "no annotations": ("val/val_annotations.txt", None, "it lacks val/val_annotations.txt"),
    "an annotation too few": (
        "val/val_annotations.txt",
        b"val_0.JPEG\tn00000001\nval_2.JPEG\tn00000001\n",
        "lacks a known class for 1 images, of which val_1.JPEG",
    ),
    "an unknown class": (
        "val/val_annotations.txt",
        b"val_0.JPEG\tn00000001\nval_1.JPEG\tn00000001\nval_2.JPEG\tn00000007\n",
        "lacks a known class for 1 images, of which val_2.JPEG",
    ),
    "a missing training image": (IMAGE, None, f"it lacks {IMAGE}"),
    "a missing validation image": ("val/images/val_2.JPEG", None, "it lacks val/images/val_2.JPEG"),
    "a truncated image": (IMAGE, jpeg(3)[:-200], f"{IMAGE} cannot be decoded .*truncated"),
    "an empty image": (IMAGE, b"", f"{IMAGE} cannot be decoded"),
    "a text for an image": (IMAGE, b"404: Not Found", f"{IMAGE} cannot be decoded"),
    "another format": ("val/images/val_0.JPEG", jpeg(3, format="PNG"), "val_0.JPEG cannot be decoded"),
    "an image of another size": (IMAGE, jpeg(3, size=(64, 32)), f"{IMAGE} has 64 x 32 pixels, but 64 x 64"),
}


@pytest.mark.parametrize("write", [LAYOUTS["the zip file"], LAYOUTS["the folder"]], ids=["zip", "folder"])
@pytest.mark.parametrize("name, content, problem", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_of_tiny_imagenet_is_named_and_nothing_is_left(write, name, content, problem, small, tmp_path):
    files = official_files() | {name: content}
    if content is None:
        del files[name]
    source = write(tmp_path, files)
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_tiny_imagenet(data_home=tmp_path / "home", source=source)
    assert str(caught.value).startswith(f"{source} cannot be used: ")
    assert "Give source=" in str(caught.value) and _tiny_imagenet_zip.URL in str(caught.value)
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("n_bytes", [0, 100, 5000, -1])
def test_a_truncated_zip_file_is_refused(n_bytes, small, tmp_path):
    source = write_zip(tmp_path / "source.zip", official_files())
    source.write_bytes(source.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match="cannot be used: File is not a zip file"):
        fetch_tiny_imagenet(data_home=tmp_path / "home", source=source)
    assert list((tmp_path / "home").iterdir()) == []


def test_a_flipped_byte_anywhere_in_the_zip_file_is_refused_or_changes_nothing(small, tmp_path):
    files = official_files()
    source, home = write_zip(tmp_path / "source.zip", files), tmp_path / "home"
    expected = fetch_tiny_imagenet(data_home=home, source=source, subset="all", image_size=2)
    content = source.read_bytes()
    directory = content.index(b"PK\1\2")
    positions = [*range(0, directory, 151), *range(directory, len(content), 5)]
    n_refused = 0
    for position in positions:
        (home / "tiny_imagenet_2.npz").unlink(missing_ok=True)
        source.write_bytes(content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :])
        try:
            dataset = fetch_tiny_imagenet(data_home=home, source=source, subset="all", image_size=2)
        except ValueError as error:
            assert str(error).startswith(f"{source} cannot be used: ")
            assert list(home.iterdir()) == []
            n_refused += 1
        else:
            assert np.array_equal(dataset.images, expected.images)
            assert dataset.target.tolist() == expected.target.tolist()
            assert dataset.target_names.tolist() == expected.target_names.tolist()
    assert n_refused > 0.4 * len(positions)


def test_nothing_in_a_zip_file_is_unpacked(small, tmp_path):
    files = official_files() | {"../../outside.txt": b"", "/outside.txt": b"", "wnids.txt/inside": b""}
    fetch_tiny_imagenet(data_home=tmp_path / "home", source=write_zip(tmp_path / "source.zip", files))
    assert {path.name for path in tmp_path.rglob("*")} == {"source.zip", "home", "tiny_imagenet_64.npz"}
