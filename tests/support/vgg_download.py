"""A slim VGG-16 as Keras saves it, and a server on this machine that serves it well, badly, or not at all."""

import hashlib
import http.server
import threading
from contextlib import contextmanager

import h5py
import numpy as np

from metastyle.nets import vgg
from metastyle.weights import vgg_files
from tests.support.slim_vgg import WIDTHS

OLD_KERAS = "{block}/{block}_{W}_1:0"


def slim_tensors(seed=0):
    """Kernels and biases of a slim VGG-16, as they meet an RGB picture."""
    rng, tensors = np.random.default_rng(seed), {}
    for layer, fan_in, width in zip(vgg.LAYERS, (3, *WIDTHS), WIDTHS, strict=False):
        tensors[f"{layer}/kernel"] = rng.normal(size=(3, 3, fan_in, width)).astype(np.float32)
        tensors[f"{layer}/bias"] = rng.normal(size=width).astype(np.float32)
    return tensors


def bgr(tensors):
    return tensors | {"conv1_1/kernel": tensors["conv1_1/kernel"][:, :, ::-1]}


def write_keras(path, tensors, form=OLD_KERAS):
    """`tensors` as Keras writes them, with the block after conv4_3 that the public file has too."""
    with h5py.File(path, "w") as file:
        for layer in (*vgg.LAYERS, "conv5_1"):
            block = f"block{layer[4]}_conv{layer[6]}"
            for i, part in enumerate(("kernel", "bias")):
                name = form.format(block=block, W="Wb"[i], kernel=part, i=i)
                file[name] = tensors.get(f"{layer}/{part}", np.zeros((3, 3, 2, 2) if i == 0 else 2, np.float32))
        file.attrs["layer_names"] = [b"block1_conv1"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, body = self.server, self.server.body
        server.requests.append(self.path)
        fault = self.path.split("/")[1]
        if fault == "missing":
            return self.send_error(404)
        if fault == "silent":
            return server.released.wait()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if fault == "good" else body[: len(body) // 2])
        self.wfile.flush()
        if fault == "stuck":
            server.released.wait()

    def log_message(self, *args):
        pass


@contextmanager
def serving(folder, tensors):
    """Serves a slim VGG-16 as Keras saves it under /good/; /truncated/, /missing/, /silent/ and /stuck/ fail so."""
    write_keras(folder / "vgg.h5", bgr(tensors))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.requests, server.released = (folder / "vgg.h5").read_bytes(), [], threading.Event()
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def empty_cache(folder, monkeypatch):
    """The cache, not there yet, and no other weights or proxies."""
    monkeypatch.setenv("METASTYLE_CACHE", str(folder / "cache"))
    monkeypatch.delenv("METASTYLE_VGG16", raising=False)
    monkeypatch.setattr(vgg_files, "sample_data", lambda: None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return folder / "cache"


def md5(server):
    return hashlib.md5(server.body).hexdigest()
