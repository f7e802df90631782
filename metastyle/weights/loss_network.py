"""The loss network that a bundle was trained with, by which its encoder reads styles."""

from metastyle.errors import InputError
from metastyle.nets import style_encoder, vgg
from metastyle.system.tensor_file import join, sha256
from metastyle.weights import vgg_files
from metastyle.weights.bundles import Bundle


def check_reads(bundle: Bundle, params: vgg.Params, name: str = "vgg") -> None:
    """Raises InputError, which names the argument `name`, unless the encoder of a bundle reads this loss network."""
    style_encoder.check(bundle.config, params, name)
    if bundle.meta.encoder is None or not bundle.network_sha256:
        return
    found = digest(params)
    if found != bundle.network_sha256:
        raise InputError(
            f"`{name}`: expected the loss network that the encoder was trained with (sha256 "
            f"{bundle.network_sha256[:12]}), got another ({found[:12]}); `experiments.carry_over` fits a bundle to "
            "another"
        )


def load_own(bundle: Bundle) -> vgg.Params:
    """Loads the bundle's own loss network, or VGG-16 if its file is gone, and checks its hash.

    Raises InputError or FileNotFoundError if it can't be loaded, or the bundle's encoder does not read it.
    """
    params = vgg_files.load(vgg_files.resolve_recorded(bundle.config.vgg), "bundle")
    check_reads(bundle, params, "bundle")
    return params


def digest(params: vgg.Params) -> str:
    """The hash of a loss network's parameters."""
    return sha256(join(params))
