"""The systems of adversarial training: what each begins with, what it minimises, and what it writes."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metastyle import config
from metastyle.adversarial import critics, cycle_gan, game, gan
from metastyle.adversarial.game import Players, State
from metastyle.config import Adversarial
from metastyle.data import domains
from metastyle.data.domains import Domain
from metastyle.errors import InputError
from metastyle.images import contact_sheet
from metastyle.meta import adaptation
from metastyle.nets import architecture, generator
from metastyle.nets.params import Flat
from metastyle.system.tensor_file import sha256
from metastyle.weights import bundles, loss_network, style_files, vgg_files
from metastyle.weights.style_files import StyleFile

_SHOWN = 6  # photographs in the grid of pictures


class System(NamedTuple):
    """A system, ready to run.

    constants, players, loss: see adversarial/game.py. pool: the names of the pictures that it keeps. metrics, shown:
    the names of what is logged, and of what the progress bar shows. written: the files that `export` writes.
    """

    constants: Any
    players: Players
    loss: game.Loss
    metrics: Sequence[str]
    shown: str
    written: Sequence[Path]
    export: Callable[[State], None]
    picture: Callable[[State], np.ndarray]
    pool: Sequence[str] = ()


def begin(settings: Adversarial, photos: Domain, domain: Domain, workdir: Path) -> System:
    """The system of these settings, for photographs and another domain. Raises InputError or FileNotFoundError."""
    return {"gan": _gan, "cycle_gan": _cycle_gan}[settings.system](settings, photos, domain, workdir)


def _gan(settings: Adversarial, photos: Domain, domain: Domain, workdir: Path) -> System:
    """The fast parameters of a bundle, from where they are guessed for the mean of the domain's pictures."""
    bundle = bundles.load_bundle(settings.bundle)
    own = loss_network.load_own(bundle)
    network = vgg_files.load(settings.vgg, "vgg") if settings.vgg else own
    net, size = bundle.config.generator, settings.data.size
    _check_size(settings, net)
    pictures = domains.squares(domain.train, size)
    asked = dataclasses.replace(bundle.config, loss=settings.loss)
    started, targets = adaptation.begin_style(asked, bundle.meta, network, pictures, own)
    critic = critics.initial(settings, network, settings.run.seed)
    shown, path = _held_out(photos, size), workdir / "style.safetensors"

    def export(state: State) -> None:
        file = StyleFile(
            fast=style_files.as_stored(_arrays(state.average)),
            slow_sha256=bundle.slow_sha256,
            arch=net.arch,
            bundle=bundle.name,
            scope=bundle.config.inner.scope,
            steps=int(state.step),
            style_size=size,
            history=(),
            phases=net.phases,
        )
        style_files.save_style(path, file, name="workdir")

    def picture(state: State) -> np.ndarray:
        slow = started.slow
        columns = {
            "photograph": shown,
            "at the start": _stylized(net, {**started.fast, **slow}, shown),
            f"{int(state.step)} steps": _stylized(net, {**_arrays(state.average), **slow}, shown),
        }
        return _sheet(columns)

    return System(
        constants=gan.Constants(network, started.slow, targets.inner),
        players=Players(started.fast, critic),
        loss=functools.partial(gan.loss, settings, net),
        metrics=gan.METRICS,
        shown="style",
        written=(path,),
        export=export,
        picture=picture,
    )


def _cycle_gan(settings: Adversarial, photos: Domain, domain: Domain, workdir: Path) -> System:
    """A generator for each way, drawn at random; each becomes a self-contained style file."""
    network = vgg_files.load(settings.vgg or vgg_files.PACKAGED, "vgg")
    net, size, seed = settings.generator, settings.data.size, settings.run.seed
    _check_size(settings, net)
    ways = [generator.initial_params(net, 2 * seed + i) for i in range(2)]
    sides = [critics.initial(settings, network, 2 * seed + i) for i in range(2)]
    shown = {"domain": _held_out(photos, size), "photo": _held_out(domain, size)}
    names = {"domain": domain.name, "photo": photos.name}
    paths = {side: workdir / f"to_{name}.safetensors" for side, name in names.items()}
    described = config.Config(
        run=settings.run, data=config.Data(size=size), generator=net, inner=config.Inner(steps=0, scope="all")
    )

    def export(state: State) -> None:
        for side, path in paths.items():
            file = StyleFile(
                fast=style_files.as_stored(cycle_gan.of_side(_arrays(state.average), side)),
                slow_sha256=sha256({}),
                arch=net.arch,
                bundle="",
                scope="all",
                steps=int(state.step),
                style_size=size,
                history=(),
                slow={},
                config=described,
            )
            style_files.save_style(path, file, name="workdir")

    def picture(state: State) -> np.ndarray:
        ways, columns = {side: cycle_gan.of_side(_arrays(state.average), side) for side in cycle_gan.SIDES}, {}
        for side, back in (("domain", "photo"), ("photo", "domain")):
            there, name = _stylized(net, ways[side], shown[side]), names[side]
            columns |= {f"to {name}": shown[side], name: there, f"back from {name}": _stylized(net, ways[back], there)}
        return _sheet(columns)

    return System(
        constants=cycle_gan.Constants(network),
        players=Players(cycle_gan.joined(*ways), cycle_gan.joined(*sides)),
        loss=functools.partial(cycle_gan.loss, settings, net),
        metrics=cycle_gan.METRICS,
        shown="cycle",
        written=tuple(paths.values()),
        export=export,
        picture=picture,
        pool=cycle_gan.SIDES,
    )


def _check_size(settings: Adversarial, net: config.Generator) -> None:
    size, least = settings.data.size, architecture.parse(net.arch).min_side
    architecture.check_size(size, size, least, "data.size")
    if settings.data.short < size:
        raise InputError(f"`data.short`: expected at least `data.size`, {size}, got {settings.data.short}")


def _held_out(domain: Domain, size: int) -> np.ndarray:
    return np.stack(domains.squares(domain.held_out or domain.train, size, _SHOWN))


def _arrays(params: Flat) -> Flat:
    return jax.tree.map(np.asarray, params)


def _stylized(net: config.Generator, params: Flat, photographs: np.ndarray) -> np.ndarray:
    return np.asarray(generator.stylize(net, params, photographs))


def _sheet(columns: dict[str, np.ndarray]) -> np.ndarray:
    """A grid with a column for each name."""
    count = max(map(len, columns.values()))
    rows = [[x[i] if i < len(x) else None for x in columns.values()] for i in range(count)]
    return contact_sheet.grid(rows, column_labels=list(columns))
