"""The objects that stand for pictures: those of NumPy, PIL, PyTorch, JAX, files and web frameworks."""

import base64
import io
import types
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from metastyle.errors import Adjusted, InputError
from metastyle.images import codec, masks, objects
from tests.support.pictures import one_line

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
FLOATS = PIXELS.astype(np.float32) / 255


def png(array=PIXELS):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


class Upload:
    """The upload of an asynchronous framework, as Starlette has it."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    async def read(self):
        return self.file.read()


class Stream(io.RawIOBase):
    """A stream without a position, as of a network."""

    def __init__(self, data):
        self._left = data

    def readable(self):
        return True

    def readall(self):
        data, self._left = self._left, b""
        return data

    def read(self, size=-1):
        return self.readall()


def in_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", png())
    return zipfile.Path(tmp_path / "a.zip") / "a.png"


@pytest.mark.parametrize(
    "build",
    [
        lambda tmp_path: bytearray(png()),
        lambda tmp_path: memoryview(png()),
        lambda tmp_path: io.BytesIO(png()),
        lambda tmp_path: Stream(png()),
        lambda tmp_path: Upload(png()),
        lambda tmp_path: f"data:image/png;base64,{base64.b64encode(png()).decode()}",
        in_archive,
        lambda tmp_path: types.SimpleNamespace(__fspath__=None, read=io.BytesIO(png()).read),
        lambda tmp_path: memoryview(PIXELS),
        lambda tmp_path: jnp.asarray(PIXELS),
        lambda tmp_path: np.moveaxis(PIXELS, 2, 0),
        lambda tmp_path: PIXELS[None],
        lambda tmp_path: np.moveaxis(PIXELS, 2, 0)[None],
        lambda tmp_path: PIXELS.astype(np.int64),
        lambda tmp_path: PIXELS.astype(">u2") * 257,
        lambda tmp_path: np.ma.MaskedArray(PIXELS, np.zeros_like(PIXELS, bool)),
        lambda tmp_path: PIXELS[::-1][::-1],
    ],
)
def test_objects_that_are_the_same_picture(build, tmp_path):
    rgb, alpha = codec.load(build(tmp_path))
    np.testing.assert_allclose(rgb, FLOATS, atol=1e-6)
    assert rgb.dtype == np.float32 and alpha is None


@pytest.mark.parametrize("dtype", [np.float64, ">f4", np.longdouble, np.float16, jnp.bfloat16])
def test_floats_of_every_kind(dtype):
    rgb, _ = codec.load(jnp.asarray(FLOATS, dtype) if dtype is jnp.bfloat16 else FLOATS.astype(dtype))
    np.testing.assert_allclose(rgb, FLOATS, atol=0.004 if dtype is jnp.bfloat16 else 5e-4)


def test_tensors_of_pytorch():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(FLOATS.transpose(2, 0, 1).copy(), requires_grad=True)
    for given in (tensor, tensor[None], tensor.detach().permute(1, 2, 0), tensor.to(torch.bfloat16)):
        rgb, _ = codec.load(given)
        np.testing.assert_allclose(rgb, FLOATS, atol=0.004)
    with pytest.raises(InputError) as info:
        codec.load(torch.zeros(3, 20, 3))
    one_line(info, "`content`", "(3, 20, 3)", "permute(1, 2, 0)")


def test_channels():
    grey, two = PIXELS[..., :1], PIXELS[..., :2]
    np.testing.assert_array_equal(codec.load(grey)[0], np.repeat(FLOATS[..., :1], 3, -1))
    rgb, alpha = codec.load(two)
    np.testing.assert_array_equal(alpha, FLOATS[..., 1])
    np.testing.assert_allclose(rgb[..., 0], FLOATS[..., 0] * alpha + 1 - alpha, atol=1e-6)
    np.testing.assert_array_equal(codec.load(PIXELS[..., 0] > 100)[0][..., 0], PIXELS[..., 0] > 100)


def test_floats_a_hair_out_of_range_are_clipped():
    rgb, _ = codec.load(np.array([[-1e-6, 1 + 1e-6], [1.003, -0.003]]))
    assert rgb.min() == 0 and rgb.max() == 1


def test_a_file_is_read_from_its_start_and_stays_where_it_was():
    file = io.BytesIO(png())
    file.seek(7)
    assert codec.load(file)[0].shape == codec.load(file)[0].shape == PIXELS.shape and file.tell() == 7


def closed():
    file = io.BytesIO(png())
    file.close()
    return file


def without_file():
    async def read():
        return png()

    return types.SimpleNamespace(read=read)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (io.StringIO("text"), "open it with mode 'rb'"),
        (closed(), "closed"),
        (without_file(), "await read()"),
        (FLOATS * 2 - 1, "pass (x + 1) / 2"),
        (FLOATS * 255, "divide them by 255"),
        (np.zeros((4, 4), np.int32), "from 0 to 0; pass x.astype('uint8') if 255 is white"),
        (np.full((4, 4), 300), "int64 from 300 to 300"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.zeros((4, 4), object), "object"),
        (np.array([["a"]]), "<U1"),
        (np.ma.masked_equal(PIXELS, 0), "x.filled(0)"),
        ("data:image/png;base64,%%%", "cannot decode 'data:image/png;base64,%%%'"),
        ("data:image/png,abc", "not in base64"),
        ("https://example.org/a.jpg", "download it"),
        ({"image": 1}, "got dict"),
        (3.5, "got float"),
        (Image, "got module"),
        (Image.Image, "got type"),
        (None, "got None"),
        (np.float32(1), "shape ()"),
        (types.SimpleNamespace(), "got types.SimpleNamespace"),
    ],
)
def test_what_has_no_plain_meaning_is_one_line(given, reason):
    with pytest.raises(InputError) as info:
        codec.load(given)
    one_line(info, "`content`", reason)


def test_masks_of_zeros_and_ones():
    regions = (PIXELS[..., 0] > 100).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(regions).save(stored, "PNG")
    for given in (regions, regions.astype(np.uint16), stored):
        with pytest.warns(Adjusted, match="^`mask`: .* only the numbers 0 and 1, taken as black and white$"):
            mask = masks.load(given, 20, 24)
        np.testing.assert_allclose(mask, regions, atol=1e-6)
    np.testing.assert_array_equal(masks.load(regions.astype(bool), 20, 24), regions)
    np.testing.assert_array_equal(masks.load(regions.astype(np.float32), 20, 24), regions)


def test_several_pictures():
    pictures = {"a": PIXELS, "b": PIXELS}
    for given in (pictures.values(), (x for x in pictures.values()), np.stack([PIXELS] * 2), [PIXELS, "a.png"]):
        assert len(objects.several(given)) == 2
    for given in (PIXELS, "ab", b"ab", io.BytesIO(b"a\nb"), pictures, Image.new("RGB", (2, 2)), None):
        assert len(objects.several(given)) == 1
