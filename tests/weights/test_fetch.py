"""Against a server on this machine that serves well, badly, or not at all. The public addresses are never asked."""

import hashlib
import socket
import sys

import numpy as np
import pytest

from metastyle.nets import vgg
from metastyle.weights import vgg_files
from metastyle.weights.fetch import SOURCES, fetch
from tests.support.errors import refused
from tests.support.vgg_download import md5, slim_tensors


def fetch_from(server, fault, **changes):
    timeout = 0.5 if fault in ("silent", "stuck") else 30
    arguments = {"url": f"{server.address}/{fault}/vgg.h5", "checksum": md5(server), "timeout": timeout}
    arguments["progress"] = False
    return fetch(**arguments | changes)


def assert_params(path, tensors):
    params = vgg_files.load(path)
    for layer in vgg.LAYERS:
        np.testing.assert_array_equal(params[layer]["kernel"], tensors[f"{layer}/kernel"])


def test_downloads_converts_and_is_then_found(server, cache, tensors):
    path = fetch_from(server, "good")
    assert path == cache / vgg_files.VGG16_FILE_NAME == vgg_files.locate("vgg16")
    assert list(cache.iterdir()) == [path]
    assert_params(path, tensors)


@pytest.mark.parametrize("digits", [64, 8])
def test_sha256_or_its_first_digits(server, cache, digits):
    assert fetch_from(server, "good", checksum=hashlib.sha256(server.body).hexdigest()[:digits].upper()).is_file()


def test_out_in_a_new_folder(server, cache, tmp_path):
    out = tmp_path / "new" / "mine.safetensors"
    assert fetch_from(server, "good", out=out) == out
    assert list(out.parent.iterdir()) == [out] and not cache.exists()


def test_progress_shows_bytes_and_says_where(server, cache, capsys):
    path = fetch_from(server, "good", progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown and "B/s" in shown and f"wrote {path}" in shown


def test_weights_already_there_are_kept_unless_forced(server, cache, capsys):
    path = fetch_from(server, "good")
    before = path.stat().st_ino
    assert fetch_from(server, "good", progress=True) == path
    assert path.stat().st_ino == before and len(server.requests) == 1
    assert f"{path} is there already" in capsys.readouterr().err
    fetch_from(server, "good", force=True)
    assert path.stat().st_ino != before and len(server.requests) == 2


@pytest.mark.parametrize("there", ["damaged", "of the other source"])
def test_weights_that_will_not_do_are_replaced(server, cache, tensors, there):
    cache.mkdir()
    if there == "damaged":
        (cache / vgg_files.VGG16_FILE_NAME).write_bytes(b"half a file")
    else:
        vgg_files.save(cache / vgg_files.VGG16_FILE_NAME, slim_tensors(seed=1), vgg.TORCHVISION)
    assert_params(fetch_from(server, "good"), tensors)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # urllib's own, on a timeout before the reply
@pytest.mark.parametrize(
    "fault, message",
    [
        ("truncated", r"expected \d+ bytes, got \d+"),
        ("missing", "HTTP Error 404"),
        ("silent", r"nothing came for 0\.5 s"),
        ("stuck", r"nothing came for 0\.5 s"),
    ],
)
def test_failed_download_leaves_nothing(server, cache, fault, message):
    with refused(rf"{server.address}/{fault}/vgg\.h5: download failed \({message}.*experiments\.convert_vgg"):
        fetch_from(server, fault)
    assert list(cache.iterdir()) == []


def test_wrong_checksum_leaves_nothing(server, cache):
    expected = SOURCES["vgg16"]["keras"].checksum
    with refused(rf"expected md5 {expected}, got {md5(server)}"):
        fetch_from(server, "good", checksum=None)
    assert list(cache.iterdir()) == []


def test_failed_download_leaves_what_was_there(server, cache):
    before = fetch_from(server, "good").read_bytes()
    with refused("download failed"):
        fetch_from(server, "truncated", force=True)
    assert [p.read_bytes() for p in cache.iterdir()] == [before]


def test_not_weights_after_all(server, cache):
    server.body = b"<html>moved</html>"
    with refused("`source`: expected VGG-16 weights .* which is none of these"):
        fetch_from(server, "good")
    assert list(cache.iterdir()) == []


def test_nobody_answers(server, cache):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with refused(r"download failed \(.*refused.*METASTYLE_VGG16"):
            fetch_from(server, "good", url=f"http://127.0.0.1:{deaf.getsockname()[1]}/vgg.h5")
    assert list(cache.iterdir()) == []


def test_not_an_address(server, cache):
    with refused(r"^vgg\.h5: download failed \(unknown url type"):
        fetch_from(server, "good", url="vgg.h5")
    with refused(r"^`url`: expected the address of a file, got http://\[::1/vgg\.h5 \(Invalid IPv6 URL\)"):
        fetch_from(server, "good", url="http://[::1/vgg.h5")


@pytest.mark.parametrize(
    "source, module, command",
    [("keras", "h5py", r'pip install "metastyle\[convert\]"'), ("torchvision", "torch", "pip install torch")],
)
def test_missing_reader_is_told_before_downloading(server, cache, monkeypatch, source, module, command):
    monkeypatch.setitem(sys.modules, module, None)
    with refused(f"needs {module}.*{command}`"):
        fetch_from(server, "good", source=source)
    assert server.requests == [] and not cache.exists()


@pytest.mark.parametrize(
    "out, message",
    [
        ("file/vgg.safetensors", "`out`: cannot make the folder .*METASTYLE_CACHE"),
        ("vgg.npz", "`out`: expected a name"),
    ],
)
def test_bad_out_is_told_before_downloading(server, cache, tmp_path, out, message):
    (tmp_path / "file").touch()
    with refused(message):
        fetch_from(server, "good", out=tmp_path / out)
    assert server.requests == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "vgg19"}, "`name`: expected one of vgg16, got 'vgg19'"),
        ({"source": "caffe"}, "`source`: expected one of keras, torchvision, got 'caffe'"),
        ({"checksum": "abc"}, "`checksum`: expected 8 to 64 hexadecimal digits .* got 'abc'"),
    ],
)
def test_bad_argument(server, cache, arguments, message):
    with refused(message):
        fetch_from(server, "good", **arguments)
    assert server.requests == []
