"""Measures how well styles bring photographs to a domain: python -m experiments.domains --out=report

--style_file names what is compared, as in gan=runs/gan/style.safetensors; the plain guess for the domain's mean is
added. The table and a sheet of pictures go to --out. See docs/adversarial.md.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.cli.lists import define_names
from metastyle.config import DEFAULT_BUNDLE, DomainData
from metastyle.errors import shown

_DOMAINS = flags.DEFINE_string("domains", DomainData().domains, "NAME:SOURCE,NAME:SOURCE: from the first to the second")
_STYLES = define_names("style_file", "[NAME=]PATH of style files")
_BACK = define_names("back", "[NAME=]PATH of style files that lead back, by the names of --style_file")
_BUNDLE = flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "a meta-trained start; default: the one in the package")
_PHOTOS = flags.DEFINE_integer("photos", 40, "held-out photographs", lower_bound=2)
_SHORT = flags.DEFINE_integer("short", DomainData().short, "px, to which all pictures are brought first")
_SIZE = flags.DEFINE_integer("size", DomainData().size, "px, of the squares that are compared")
_VGG = flags.DEFINE_string("vgg", "vgg16", "the loss network that judges")
_OUT = flags.DEFINE_string("out", "report", "folder for the table and the pictures")


def main(_: list[str]) -> None:
    from metastyle.evaluate.studies import domain_report
    from metastyle.system import compile_cache
    from metastyle.weights import vgg_files

    compile_cache.enable_compile_cache()
    data = DomainData(domains=_DOMAINS.value, short=_SHORT.value, size=_SIZE.value)
    vgg = vgg_files.load(_VGG.value)
    compared = domain_report.Compared(_STYLES.value or (), _BACK.value or ())
    table = domain_report.run(data, compared, _BUNDLE.value, _PHOTOS.value, vgg, _OUT.value)
    print(table)
    print(f"wrote {shown(_OUT.value)}/domains.html")


if __name__ == "__main__":
    run(main)
