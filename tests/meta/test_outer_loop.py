"""Identities of the inner and outer loop, on a small net and a toy loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.meta import adaptation, inner_loop, outer_loop
from metastyle.meta.parameters import Meta
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import vgg
from tests.support import toy


def wide_meta(settings):
    """Meta-parameters in float64, moved off their start so that no gradient is zero by symmetry."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: jnp.asarray(x + 0.1 * rng.normal(size=x.shape), jnp.float64), outer_loop.initial_meta(settings)
    )


def loss_and_gradient(settings, params, task, dtype, first_order=False, step=0):
    problem = toy.problem(dtype)
    loss = lambda m: outer_loop.task_loss(problem, settings, m, task, toy.VGG.astype(dtype), step, first_order)[0]
    return jax.jit(loss), jax.jit(jax.grad(loss))(params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scope", "rate_kind", "multi_step", "hidden"),
    [("norm", "step", 0, 0), ("norm", "step", 10, 4), ("all", "step", 10, 0), ("all", "parameter", 0, 4)],
)
def test_meta_gradient_is_the_finite_difference_in_both_modes(scope, rate_kind, multi_step, hidden):
    """And forward over reverse is plain autodiff."""
    inner = {"scope": scope, "rate_kind": rate_kind, "remat": multi_step > 0}
    with jax.enable_x64(True):
        found = []
        for mode in ("plain", "forward_over_reverse"):
            outer = {"multi_step": multi_step}
            settings = toy.settings(inner=inner | {"gradient": mode}, outer=outer, hidden=hidden)
            params, task = wide_meta(settings), toy.one_task(np.float64)
            loss, gradient = loss_and_gradient(settings, params, task, jnp.float64)
            found.append(gradient)
        assert toy.relative_error(*found) < 1e-11
        rng, epsilon = np.random.default_rng(2), 1e-6
        for name, part in params.parts().items():
            if not part:
                continue
            moved = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), part)
            direction = dataclasses.replace(jax.tree.map(jnp.zeros_like, params), **{name: moved})
            ahead, behind = (jax.tree.map(lambda p, d: p + s * d, params, direction) for s in (epsilon, -epsilon))  # noqa: B023
            numeric = (loss(ahead) - loss(behind)) / (2 * epsilon)
            analytic = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
            assert abs(numeric - analytic) <= 1e-6 * abs(numeric), name


@pytest.mark.slow
def test_second_order_differs_from_first_order():
    settings = toy.settings()
    params = outer_loop.initial_meta(settings)
    first, second = (loss_and_gradient(settings, params, toy.one_task(), jnp.float32, fo)[1] for fo in (True, False))
    assert toy.relative_error(first.fast, second.fast) > 1e-2


@pytest.mark.slow
def test_first_order_is_the_gradient_at_the_adapted_parameters_and_rates_still_learn():
    settings = toy.settings(inner={"scope": "all", "normalize": False}, outer={"objective": "mean"})
    params, task = outer_loop.initial_meta(settings), toy.one_task()
    problem = toy.problem()
    _, gradient = loss_and_gradient(settings, params, task, jnp.float32, first_order=True)
    prepared = problem.prepare(task, toy.VGG)
    adapted = inner_loop.inner_loop(
        problem.loss, params, prepared.support, (prepared.target, toy.VGG), settings.inner
    ).fast
    at_adapted = jax.grad(problem.loss)(adapted, {}, prepared.query, prepared.target, toy.VGG)
    assert toy.relative_error(gradient.fast, at_adapted) < 1e-5
    # The last rate: d query / d log_lr_K = -lr <d query / d fast_K, g_K>, leaf by leaf, with g_K held fixed.
    before = (fast_after(problem, settings, params, prepared, 2), {}, {"images": prepared.support["images"][2]})
    last = jax.grad(problem.loss)(*before, prepared.target, toy.VGG)
    expected = {path: -settings.inner.lr * jnp.vdot(at_adapted[path], last[path]) for path in last}
    assert toy.relative_error({path: x[-1] for path, x in gradient.log_lr.items()}, expected) < 1e-4


def fast_after(problem, settings, params, prepared, steps):
    inner = dataclasses.replace(settings.inner, steps=steps)
    start = dataclasses.replace(params, log_lr=jax.tree.map(lambda x: x[:steps], params.log_lr))
    support = jax.tree.map(lambda x: x[:steps], prepared.support)
    return inner_loop.inner_loop(problem.loss, start, support, (prepared.target, toy.VGG), inner).fast


@pytest.mark.slow
def test_the_query_may_be_judged_by_another_network():
    """The inner loop goes where the inner network leads it, and what is reported there is the outer network's loss."""
    settings = toy.settings(inner={"steps": 2, "support": 2})
    params = outer_loop.initial_meta(settings)
    task = jax.tree.map(lambda x: jnp.asarray(x[0]), toy.tasks(1, 2))
    inner, outer = vgg.random_params(0, (4,) * 10), vgg.random_params(1, (6,) * 10)
    plain, judged = (style_problem(settings.generator, settings.loss, judged) for judged in (False, True))

    def query(problem, networks):
        told = jax.jit(lambda networks: outer_loop.task_loss(problem, settings, params, task, networks, 0, True)[1])
        return {name: float(x) for name, x in told(networks).items()}

    theirs, ours = query(plain, Networks(inner)), query(judged, Networks(inner, outer))
    assert ours["support_mean"] == pytest.approx(theirs["support_mean"], rel=1e-5)
    assert query(judged, Networks(inner, inner))["query"] == pytest.approx(theirs["query"], rel=1e-5)

    @jax.jit
    def by_hand(inner, outer):
        prepared, other = plain.prepare(task, inner), plain.prepare(task, outer)
        fast = inner_loop.inner_loop(
            plain.loss, params, prepared.support, (prepared.target, inner), settings.inner
        ).fast
        return plain.loss(fast, params.slow, other.query, other.target, outer)

    assert ours["query"] == pytest.approx(float(by_hand(Networks(inner), Networks(outer))), rel=1e-5)
    assert abs(ours["query"] / theirs["query"] - 1) > 0.01


def test_without_inner_steps_the_meta_gradient_is_the_plain_gradient():
    settings = toy.settings(inner={"steps": 0}, outer={"objective": "mean"})
    params, task = outer_loop.initial_meta(settings), toy.one_task()
    _, gradient = loss_and_gradient(settings, params, task, jnp.float32)
    problem = toy.problem()
    prepared = problem.prepare(task, toy.VGG)
    plain = jax.grad(problem.loss, argnums=(0, 1))(params.fast, params.slow, prepared.query, prepared.target, toy.VGG)
    assert toy.relative_error((gradient.fast, gradient.slow), plain) < 1e-6


def test_rates_are_deployed_as_they_had_decayed():
    settings = toy.settings(inner={"support": 2}, outer={"decay": "inverse"})
    params, task, problem = jax.tree.map(np.asarray, outer_loop.initial_meta(settings)), toy.one_task(), toy.problem()
    prepared = problem.prepare(task, toy.VGG)
    fixed, scale = (prepared.target, toy.VGG), outer_loop.lr_scale(settings.outer, 40_000)
    assert scale == 0.5
    trained = inner_loop.inner_loop(problem.loss, params, prepared.support, fixed, settings.inner, lr_scale=scale)
    support = {"images": prepared.support["images"].reshape(-1, toy.SIZE, toy.SIZE, 3)}
    state = outer_loop.MetaState(params, None, np.int32(40_000))
    deployed = outer_loop.deployed(settings.outer, state)
    begun, plan = adaptation.Begun(deployed, prepared.target, support), adaptation.Plan(3, settings.inner, 0.0)
    fast, _ = adaptation.adapt(problem.loss, begun, toy.VGG, plan)
    assert toy.relative_error(fast, trained.fast) < 1e-6 < toy.relative_error(fast, params.fast)
    same = outer_loop.deployed(toy.settings().outer, state)
    assert jax.tree.all(jax.tree.map(np.array_equal, same, params))


@pytest.mark.slow
def test_the_log_objective_divides_the_gradient_by_the_loss():
    gradients = {}
    for objective in ("mean", "log"):
        settings = toy.settings(outer={"objective": objective})
        loss, gradients[objective] = loss_and_gradient(
            settings, outer_loop.initial_meta(settings), toy.one_task(), jnp.float32
        )
        value = loss(outer_loop.initial_meta(settings))
        gradients["expected"] = gradients.get("expected") or jax.tree.map(lambda g: g / value, gradients["mean"])  # noqa: B023
    assert toy.relative_error(gradients["log"], gradients["expected"]) < 1e-5


def test_multi_step_weights_anneal_to_the_last_step():
    outer = config.Outer(multi_step=100)
    weights = [np.asarray(outer_loop.step_weights(outer, 3, step)) for step in (0, 50, 1000)]
    np.testing.assert_allclose(weights[0], 0.25)
    np.testing.assert_allclose([w.sum() for w in weights], 1, rtol=1e-6)
    assert weights[0][-1] < weights[1][-1] < weights[2][-1]
    np.testing.assert_allclose(weights[2][:-1], 0.03 / 4, rtol=1e-5)
    np.testing.assert_array_equal(outer_loop.step_weights(config.Outer(multi_step=0), 3, 0), [0, 0, 0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("first_order", [True, False])
def test_the_multi_step_gradient_is_the_mean_of_the_gradients_after_each_number_of_steps(first_order):
    settings = toy.settings(outer={"multi_step": 10})
    params, task = outer_loop.initial_meta(settings), toy.one_task()
    _, gradient = loss_and_gradient(settings, params, task, jnp.float32, first_order)
    expected = jax.tree.map(jnp.zeros_like, params)
    for k in range(4):
        # K = k, judged on the photographs of step k + 1, or after the last on the query.
        shorter = toy.settings(inner={"steps": k})
        judged = task["support"][k] if k < 3 else task["query"]
        cut = task | {"support": task["support"][:k], "query": judged}
        start = dataclasses.replace(params, log_lr=jax.tree.map(lambda x: x[: max(k, 1)], params.log_lr))  # noqa: B023
        _, part = loss_and_gradient(shorter, start, cut, jnp.float32, first_order)
        log_lr = jax.tree.map(lambda x, g: jnp.zeros_like(x).at[: len(g)].add(g), params.log_lr, part.log_lr)
        part = dataclasses.replace(part, log_lr=log_lr)
        expected = jax.tree.map(lambda e, g: e + g / 4, expected, part)
    assert toy.relative_error(gradient, expected) < 1e-5


@pytest.mark.slow
def test_another_networks_multi_step_loss_is_of_the_start_and_then_of_another_step_in_turn():
    settings, problem = toy.settings(outer={"multi_step": 10**9}), toy.problem()
    params, task = outer_loop.initial_meta(settings), toy.one_task()
    judged = problem._replace(query_loss=problem.loss)
    loss = jax.jit(lambda step: outer_loop.task_loss(judged, settings, params, task, toy.VGG, step, True)[0])
    prepared = problem.prepare(task, toy.VGG)
    logs = [
        jnp.log(problem.loss(fast, params.slow, prepared.query, prepared.target, toy.VGG))
        for fast in (fast_after(problem, settings, params, prepared, k) for k in range(4))
    ]
    for step, before in enumerate((0, 0, 0, 1, 0, 2, 0, 0)):
        assert float(loss(step)) == pytest.approx(float(0.75 * logs[before] + 0.25 * logs[3]), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("first_order", [True, False])
def test_tasks_side_by_side_have_the_gradient_of_one_after_the_other(first_order):
    settings = toy.settings(outer={"multi_step": 10}, hidden=4)
    params, tasks, problem = outer_loop.initial_meta(settings), toy.tasks(8), toy.problem()
    expected, single = outer_loop.meta_gradient(problem, settings, params, tasks, toy.VGG, 3, first_order)
    for together in (2, 8):
        outer = dataclasses.replace(settings.outer, tasks_side_by_side=together)
        grouped = dataclasses.replace(settings, outer=outer)
        metrics, gradient = outer_loop.meta_gradient(problem, grouped, params, tasks, toy.VGG, 3, first_order)
        assert toy.relative_error(gradient, single) < 1e-5
        for name, value in expected.items():
            assert float(metrics[name]) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.slow
def test_reptile_moves_towards_where_the_inner_loop_ends():
    settings = toy.settings(
        inner={"scope": "all", "rate_kind": "fixed"},
        outer={"update": "reptile", "optimizer": "sgd", "lr": 1.0, "decay": "inverse", "tasks": 1},
    )
    problem, state = toy.problem(), outer_loop.initial_state(settings)
    tasks = toy.tasks(1)
    prepared = problem.prepare(jax.tree.map(lambda x: x[0], tasks), toy.VGG)
    end = inner_loop.inner_loop(
        problem.loss, state.meta, prepared.support, (prepared.target, toy.VGG), settings.inner
    ).fast
    after, _ = outer_loop.outer_step(problem, settings, True, state, tasks, toy.VGG)
    assert toy.relative_error(after.meta.fast, end) < 1e-5
    with pytest.raises(InputError, match="reptile"):
        dataclasses.replace(settings, inner=dataclasses.replace(settings.inner, scope="norm"))


@pytest.mark.slow
def test_fixed_rates_stay_fixed_and_learned_rates_move():
    for rate_kind, moves in (("fixed", False), ("step", True)):
        settings = toy.settings(inner={"rate_kind": rate_kind}, outer={"tasks": 1})
        state = outer_loop.initial_state(settings)
        after, _ = outer_loop.outer_step(toy.problem(), settings, False, state, toy.tasks(1), toy.VGG)
        changed = toy.relative_error(after.meta.log_lr, state.meta.log_lr) > 1e-6
        assert changed == moves


@pytest.mark.slow
def test_meta_training_lowers_the_loss_after_adaptation():
    settings = toy.settings(outer={"tasks": 4, "lr": 3e-3}, run={"steps": 100})
    problem, state = toy.problem(), outer_loop.initial_state(settings)
    step = jax.jit(lambda s, t: outer_loop.outer_step(problem, settings, False, s, t, toy.VGG))
    losses = []
    for i in range(100):
        state, metrics = step(state, toy.tasks(4, seed=i))
        losses.append(float(metrics["query"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_each_part_has_its_rate_after_clipping_and_both_decay():
    outer = {"optimizer": "sgd", "lr": 0.5, "rate_lr": 2.0, "decay": "inverse", "clip": 5.0}
    tx, zero = outer_loop.optimizer(toy.settings(outer=outer)), jnp.zeros(1)
    params = Meta(fast={"w": zero}, slow={}, log_lr={"w": zero})
    gradient = Meta(fast={"w": zero + 6}, slow={}, log_lr={"w": zero + 8})  # norm 10: halved
    state = tx.init(params)
    later = jax.tree.map(lambda count: jnp.full_like(count, 40_000), state)
    for at, scale in ((state, 1.0), (later, 0.5)):
        moves, _ = tx.update(gradient, at, params)
        assert float(moves.fast["w"][0]) == pytest.approx(-0.5 * 3 * scale)
        assert float(moves.log_lr["w"][0]) == pytest.approx(-2.0 * 4 * scale)


def test_the_schedule_warms_up_and_decays():
    settings = toy.settings(outer={"optimizer": "sgd", "lr": 1.0, "warmup": 4}, run={"steps": 20})
    tx = outer_loop.optimizer(settings)
    params = Meta(fast={"w": jnp.zeros(1)}, slow={}, log_lr={})
    state, moves = tx.init(params), []
    for _ in range(21):
        updates, state = tx.update(Meta(fast={"w": jnp.ones(1)}, slow={}, log_lr={}), state, params)
        moves.append(-float(updates.fast["w"][0]))
    np.testing.assert_allclose(moves[:4], [0.25, 0.5, 0.75, 1.0])
    assert all(a >= b for a, b in zip(moves[3:], moves[4:], strict=False)) and moves[-1] < 1e-6
