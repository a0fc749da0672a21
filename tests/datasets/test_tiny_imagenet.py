import io
import re
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from growlattice.datasets import _tiny_imagenet_zip, fetch_tiny_imagenet

from .conftest import VAL_LABELS, official_files, real_file, write_zip


def test_the_decoded_images_are_kept_and_the_source_is_not_read_again(small, tmp_path, monkeypatch):
    source = write_zip(tmp_path / "source.zip", official_files())
    first = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="test")
    source.unlink()
    again = fetch_tiny_imagenet(data_home=tmp_path, source=source, subset="test", download_if_missing=False)
    assert np.array_equal(first.images, again.images) and first.target.tolist() == again.target.tolist() == VAL_LABELS


def test_each_image_size_has_a_file_of_its_own_and_is_antialiased(small, tmp_path):
    files = official_files()
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    content = io.BytesIO()
    Image.fromarray(stripes).save(content, "JPEG", quality=95)
    files["val/images/val_0.JPEG"] = content.getvalue()
    source = write_zip(tmp_path / "source.zip", files)
    for image_size in (64, 16, np.int64(16), 1):
        images, _ = fetch_tiny_imagenet(
            data_home=tmp_path, source=source, subset="test", image_size=image_size, return_X_y=True
        )
        assert images.shape == (3, image_size, image_size, 3) and images.dtype == np.uint8
        if image_size < 64:
            assert np.all(np.abs(images[0].astype(int) - 128) < 20)  # without antialiasing it would be black or white
        else:
            assert np.ptp(images[0]) > 200
    names = {"tiny_imagenet_64.npz", "tiny_imagenet_16.npz", "tiny_imagenet_1.npz", "source.zip"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("image_size", [0, -1, 65, 32.0, "32", None, (32, 32)])
def test_an_image_size_out_of_range_is_named_before_anything_is_downloaded(image_size, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"image_size={image_size!r} must be an int from 1 to 64")):
        fetch_tiny_imagenet(data_home=tmp_path, image_size=image_size)


def test_a_source_that_is_not_there_is_named(small, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source='.*gone.zip' is not there"):
        fetch_tiny_imagenet(data_home=tmp_path, source=tmp_path / "gone.zip")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_decoding_leaves_nothing(small, tmp_path, monkeypatch):
    source = write_zip(tmp_path / "source.zip", official_files())

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_tiny_imagenet_zip, "_decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_tiny_imagenet(data_home=tmp_path / "home", source=source)
    assert list((tmp_path / "home").iterdir()) == []


def test_the_zip_file_is_downloaded_once_for_all_sizes(small, install_url, tmp_path):
    calls = install_url(write_zip(tmp_path / "official.zip", official_files()).read_bytes())
    home = tmp_path / "home"
    for image_size in (64, 64, 8):
        images, target = fetch_tiny_imagenet(data_home=home, image_size=image_size, return_X_y=True)
        assert images.shape == (6, image_size, image_size, 3) and target.tolist() == [0, 0, 1, 1, 2, 2]
        assert calls == [(_tiny_imagenet_zip.URL, "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")]
    names = {"tiny_imagenet_64.npz", "tiny_imagenet_8.npz", "tiny-imagenet-200.zip"}
    assert {path.name for path in home.iterdir()} == names


def test_a_zip_file_in_the_data_folder_needs_no_download(small, tmp_path):
    write_zip(tmp_path / "tiny-imagenet-200.zip", official_files())
    assert len(fetch_tiny_imagenet(data_home=tmp_path, download_if_missing=False).images) == 6


@pytest.mark.parametrize("failure", [URLError("no network"), RuntimeError("File not found or corrupted."), EOFError()])
def test_a_failed_download_of_the_zip_file_says_what_to_do_and_leaves_nothing(failure, install_url, tmp_path):
    install_url(b"half of it", failure)
    with pytest.raises(OSError, match="Tiny ImageNet could not be downloaded") as caught:
        fetch_tiny_imagenet(data_home=tmp_path)
    message = str(caught.value)
    assert type(failure).__name__ in message and str(tmp_path / "tiny-imagenet-200.zip") in message
    assert _tiny_imagenet_zip.URL in message and "source=" in message
    assert caught.value.__cause__ is failure
    assert list(tmp_path.iterdir()) == []


def test_a_missing_zip_file_that_is_not_to_be_downloaded_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="tiny-imagenet-200.zip is not there.*source=") as caught:
        fetch_tiny_imagenet(data_home=tmp_path, download_if_missing=False)
    assert _tiny_imagenet_zip.URL in str(caught.value)


def test_the_real_tiny_imagenet_holds_the_whole_data_set():
    real_file("tiny_imagenet_64.npz")
    for subset, n_per_class in [("train", 500), ("test", 50)]:
        images, target = fetch_tiny_imagenet(subset=subset, download_if_missing=False, return_X_y=True)
        assert images.shape == (200 * n_per_class, 64, 64, 3)
        assert np.bincount(target).tolist() == [n_per_class] * 200
        assert (images.min(), images.max()) == (0, 255)
