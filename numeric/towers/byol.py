"""BYOL on a finite population: the exact expected gradient by autograd, and its operator form.

``L = E 1/2 ||P f(x_1; W) - sg f(x_+; W')||^2`` over independent augmentations of a point, with a linear predictor P and
a target network that no gradient reaches. With zero mean each tower's expected output is subtracted first.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, Weights, as_floating, as_number, check_finite, check_single, is_integer
from numeric.towers.connection import connections
from numeric.towers.network import forward, unvec, vec
from numeric.towers.populations import FinitePopulation
from numeric.towers.spectral import check_rows

MEANS = ("kept", "subtracted", "detached", "standardised")


def byol_loss(
    outputs: Float[Tensor, "MA n_L"],
    targets: Float[Tensor, "_ _"],
    population: FinitePopulation,
    predictor: Any = None,
    mean: str = "kept",
) -> Float[Tensor, ""]:
    """Expected BYOL loss of two tables of outputs, as the literal sum over both augmentations.

    Parameters
    ----------
    outputs, targets : Tensor
        Outputs of the online and of the target network at all augmented points, ``(M A, n_L)``; the targets are
        detached here.
    population : FinitePopulation
        Points and augmentations with their weights.
    predictor : Tensor or callable, optional
        Matrix, from outputs to targets, or a function of a batch of outputs; the identity by default.
    mean : str
        "kept"; "subtracted": minus the expected output of each tower; "detached": no gradient through that mean;
        "standardised": also divided by the deviation of each output, as BatchNorm over the population does.

    Returns
    -------
    Tensor
        A scalar, differentiable in ``outputs`` and in what the predictor is made of.

    Raises
    ------
    InputError
        For another number of rows, tables of two widths, or a predictor that does not fit them.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]]])
    >>> float(byol_loss(population.flat_points, population.flat_points, population))
    1.0
    """
    if mean not in MEANS:
        raise InputError(f"mean={mean!r}: must be one of {', '.join(MEANS)}")
    check_rows(outputs, population)
    check_rows(targets, population, "targets")
    targets = targets.detach()
    if mean != "kept":
        centre = population.flat_weights @ outputs
        outputs = outputs - (centre.detach() if mean == "detached" else centre)
        targets = targets - population.flat_weights @ targets
    if mean == "standardised":
        outputs, targets = (_unit_deviation(table, population) for table in (outputs, targets))
    outputs = _predicted(outputs, predictor, targets)
    shape = (population.size, population.augmentations, -1)
    online, other = outputs.reshape(shape), targets.reshape(shape)
    distances = 0.5 * (online[:, :, None] - other[:, None, :]).square().sum(-1)
    inner = population.augmentation_weights
    return torch.einsum("m,ma,mb,mab->", population.point_weights, inner, inner, distances)


def _unit_deviation(centred: Tensor, population: FinitePopulation) -> Tensor:
    """Centred outputs over their deviations, gradients through both; an output that is constant is refused."""
    variance = population.flat_weights @ centred.square()
    if bool((variance == 0).any()):
        raise InputError("mean='standardised': an output is the same everywhere, its deviation is 0")
    return centred / variance.sqrt()


def _predicted(outputs: Tensor, predictor: Any, targets: Tensor) -> Tensor:
    """Outputs after the predictor, a table of the shape of the targets."""
    if isinstance(predictor, Tensor):
        fits = (targets.shape[1], outputs.shape[1])
        if tuple(predictor.shape) != fits:
            raise InputError(f"predictor of shape {tuple(predictor.shape)}: must be {fits}, from outputs to targets")
        return outputs @ predictor.T
    if not (predictor is None or callable(predictor)):
        raise InputError(f"predictor, a {type(predictor).__name__}: must be a tensor or a function")
    found = outputs if predictor is None else predictor(outputs)
    if found.shape != targets.shape:
        of = "outputs" if predictor is None else "outputs after the predictor"
        raise InputError(f"{of} of shape {tuple(found.shape)}: must be {tuple(targets.shape)}, that of the targets")
    table: Tensor = found
    return table


def byol_gradient(
    weights: Weights,
    population: FinitePopulation,
    predictor: Any = None,
    target: Weights | None = None,
    slope: Real = 0.0,
    mean: str = "kept",
) -> tuple[list[Tensor], Tensor | None]:
    """``-E[grad L]`` of every layer and of a predictor matrix, by autograd.

    Parameters
    ----------
    weights : sequence of arrays
        Online tower, ``(n_l, n_{l-1})`` each.
    population : FinitePopulation
        Points and augmentations with their weights.
    predictor : array or callable, optional
        Matrix ``(n_L, n_L)`` or a function; the identity by default.
    target : sequence of arrays, optional
        Weights of the target tower; those of the online tower by default.
    slope : float
        Slope of the activation below zero.
    mean : str
        As in :func:`byol_loss`.

    Returns
    -------
    list of Tensor, Tensor or None
        One matrix for each layer, shaped as the weights; that of a predictor matrix.

    Raises
    ------
    InputError
        For towers whose outputs differ in size, or a predictor of another shape.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> layers, by_predictor = byol_gradient([[[1.0]]], FinitePopulation([[[1.0], [3.0]]]), [[0.5]])
    >>> layers[0].tolist(), by_predictor.tolist()
    ([[0.75]], [[1.5]])
    """
    online, other, matrix = _checked(weights, target, predictor, population)
    leaves = [layer.detach().requires_grad_() for layer in online]
    given: Any = predictor if matrix is None else matrix.detach().requires_grad_()
    points = population.flat_points
    value = byol_loss(forward(leaves, points, slope), forward(other, points, slope), population, given, mean)
    wanted = leaves if matrix is None else [*leaves, given]
    found = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
    descent = [-gradient for gradient in found]
    return descent[: len(leaves)], (None if matrix is None else descent[-1])


def byol_update(
    weights: Weights,
    population: FinitePopulation,
    predictor: Any = None,
    target: Weights | None = None,
    slope: Real = 0.0,
    mean: str = "kept",
) -> list[Tensor]:
    """Operator form of the expected BYOL update, by dense connections.

    ``-E_x V_aug[K P^T] vec W - E_x[Kbar P^T P Kbar^T] vec W + E_x[Kbar P^T Kbar'^T] vec W'``; with the mean subtracted
    the two second moments over x become (co)variances.

    Parameters
    ----------
    weights, population, predictor, target, slope
        As in :func:`byol_gradient`; the predictor is a matrix.
    mean : str
        "kept" or "subtracted".

    Returns
    -------
    list of Tensor
        One matrix for each layer, shaped as the weights.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> population = FinitePopulation([[[1.0], [3.0]], [[0.0], [2.0]]])
    >>> update = byol_update([[[1.0]]], population, [[0.5]])
    >>> torch.equal(update[0], byol_gradient([[[1.0]]], population, [[0.5]])[0][0])
    True
    """
    if mean not in MEANS[:2]:
        raise InputError(f"mean={mean!r}: must be one of {', '.join(MEANS[:2])}")
    online, other, matrix = _checked(weights, target, predictor, population)
    if matrix is None:
        if predictor is not None:
            raise InputError("predictor of byol_update: must be a matrix; the operator form is linear")
        matrix = torch.eye(online[-1].shape[-2], dtype=online[-1].dtype, device=online[-1].device)
    points, p = population.flat_points, population.point_weights
    update = []
    for mine, theirs, layer, beside in zip(
        connections(online, points, slope), connections(other, points, slope), online, other, strict=True
    ):
        through = mine @ matrix.T
        average, other_average = population.mean(through), population.mean(theirs)
        column, other_column = vec(layer), vec(beside)
        # Deviations are formed before they are squared.
        deviation = through.unflatten(0, (population.size, -1)) - average[:, None]
        inside = torch.einsum("mapn,maqn,ma,m,q->p", deviation, deviation, population.augmentation_weights, p, column)
        if mean == "subtracted":
            average = average - torch.tensordot(p, average, dims=1)
            other_average = other_average - torch.tensordot(p, other_average, dims=1)
        pull = torch.einsum("mpn,mqn,m,q->p", average, other_average, p, other_column)
        push = torch.einsum("mpn,mqn,m,q->p", average, average, p, column)
        update.append(unvec(pull - push - inside, layer.shape[-2]))
    return update


def optimal_predictor(
    weights: Weights, population: FinitePopulation, target: Weights | None = None, slope: Real = 0.0
) -> Float[Tensor, "n_L n_L"]:
    """The linear predictor of least loss, ``E[fbar' fbar^T] E[f f^T]^{-1}``.

    Parameters
    ----------
    weights, population, target, slope
        As in :func:`byol_gradient`.

    Returns
    -------
    Tensor
        ``(n_L, n_L)``.

    Raises
    ------
    InputError
        Where the second moment of the outputs is singular.

    Source
    ------
    Pack byol-update; Tang et al. (2022).

    Examples
    --------
    >>> optimal_predictor([[[1.0]]], FinitePopulation([[[1.0], [3.0]]])).tolist()
    [[0.8]]
    """
    online, other, _ = _checked(weights, target, None, population)
    f, g = (forward(tower, population.flat_points, slope) for tower in (online, other))
    second = torch.einsum("n,ni,nj->ij", population.flat_weights, f, f)
    cross = torch.einsum("m,mi,mj->ij", population.point_weights, population.mean(g), population.mean(f))
    if int(torch.linalg.matrix_rank(second)) < len(second):
        raise InputError(f"second moment of the outputs: has rank below {len(second)}, so no single optimum")
    solved: Tensor = torch.linalg.solve(second.T, cross.T).T
    return solved


@dataclass(frozen=True, eq=False)
class ByolTrace:
    """What a run of :func:`descend_byol` recorded, R records; record 0 is the start.

    Attributes
    ----------
    steps : tuple of int
        How many steps had been taken at each record.
    weights, target : tuple of Tensor
        Online and target weights, ``(R, n_l, n_{l-1})`` for each layer.
    predictor : Tensor
        ``(R, n_L, n_L)``.
    losses : Tensor
        Expected loss, ``(R,)``.
    diverged_at : int or None
        The first step after which a number was not finite; the records end before it.

    Examples
    --------
    >>> trace = descend_byol([[[1.0]]], FinitePopulation([[[1.0], [3.0]]]), lr=0.1, steps=4, every=2)
    >>> trace.steps, tuple(trace.norms.shape)
    ((0, 2, 4), (3, 1))
    """

    steps: tuple[int, ...]
    weights: tuple[Float[Tensor, "R _ _"], ...]
    target: tuple[Float[Tensor, "R _ _"], ...]
    predictor: Float[Tensor, "R n_L n_L"]
    losses: Float[Tensor, " R"]
    diverged_at: int | None = None

    @property
    def norms(self) -> Float[Tensor, "R L"]:
        """Squared Frobenius norms of the layers."""
        return torch.stack([layer.square().sum(dim=(1, 2)) for layer in self.weights], dim=1)


def descend_byol(
    weights: Weights,
    population: FinitePopulation,
    lr: Real,
    steps: int,
    *,
    predictor: Any = None,
    predictor_lr: Real = 0.0,
    optimal: bool = False,
    ema: Real = 0.0,
    mean: str = "kept",
    every: int = 1,
    slope: Real = 0.0,
) -> ByolTrace:
    """Gradient descent on the exact expected BYOL loss, with a predictor and an EMA target, in float64.

    Parameters
    ----------
    weights : sequence of arrays
        Online weights at the start; the target starts there too.
    population : FinitePopulation
        Points and augmentations with their weights.
    lr : float
        Learning rate of the online weights.
    steps : int
        Number of steps.
    predictor : array, optional
        The predictor at the start; the identity by default.
    predictor_lr : float
        Its learning rate; 0 keeps it.
    optimal : bool
        Replace the predictor by the optimal one before every step.
    ema : float
        Share of the old target that is kept at each step, in [0, 1]; 0: the target is the online network.
    mean : str
        As in :func:`byol_loss`.
    every : int
        A record is kept at the start, after every so many steps, and at the end.
    slope : float
        Slope of the activation below zero.

    Returns
    -------
    ByolTrace
        Steps, weights of both towers, predictor and losses of the records.

    Raises
    ------
    InputError
        Invalid inputs; a start whose loss is not finite.

    Source
    ------
    arXiv 2010.00578 versions 1 to 3; pack byol-update.

    Examples
    --------
    >>> trace = descend_byol([[[1.0]]], FinitePopulation([[[1.0], [3.0]]]), lr=0.1, steps=2)
    >>> [round(float(norm), 4) for norm in trace.norms[:, 0]]
    [1.0, 0.81, 0.6561]
    """
    rate, slow = as_number(lr), as_number(predictor_lr)
    kept = as_number(ema)
    if not rate > 0:
        raise InputError(f"lr={lr!r:.40}: must be positive and finite")
    if not (slow >= 0 and math.isfinite(slow)):
        raise InputError(f"predictor_lr={predictor_lr!r:.40}: must be finite and not negative")
    if not 0 <= kept <= 1:
        raise InputError(f"ema={ema!r:.40}: must lie in [0, 1]")
    for name, number, least in (("steps", steps, 0), ("every", every, 1)):
        if not is_integer(number, least):
            raise InputError(f"{name}={number!r:.40}: must be an integer >= {least}")
    exact = population.to(population.points.device, torch.float64)
    first = [layer.detach().to(torch.float64) for layer in check_single(weights)]
    size = first[-1].shape[-2]
    start = torch.eye(size, dtype=torch.float64, device=first[0].device) if predictor is None else predictor
    online, target, matrix = _checked(first, first, start, exact)
    if matrix is None:
        raise InputError("predictor of descend_byol: must be a matrix")
    records: list[tuple[int, list[Tensor], list[Tensor], Tensor, Tensor]] = []
    for step in range(steps + 1):
        if optimal:
            matrix = optimal_predictor(online, exact, target, slope)
        layers, by_predictor = byol_gradient(online, exact, matrix, target, slope, mean)
        value = byol_loss(
            forward(online, exact.flat_points, slope), forward(target, exact.flat_points, slope), exact, matrix, mean
        )
        if not all(bool(torch.isfinite(each).all()) for each in (value, matrix, *online, *layers)):
            if not records:
                raise InputError(f"loss of the starting weights: is {float(value)}, must be finite")
            return _trace(records, step)
        if step % every == 0 or step == steps:
            records.append((step, online, target, matrix, value))
        online = [layer + rate * change for layer, change in zip(online, layers, strict=True)]
        matrix = matrix + slow * (torch.zeros_like(matrix) if by_predictor is None else by_predictor)
        target = [kept * old + (1 - kept) * new for old, new in zip(target, online, strict=True)]
    return _trace(records, None)


def _trace(records: list[tuple[int, list[Tensor], list[Tensor], Tensor, Tensor]], diverged: int | None) -> ByolTrace:
    """The records, stacked."""
    steps, online, target, predictors, losses = zip(*records, strict=True)
    mine, theirs = (tuple(torch.stack(layer) for layer in zip(*tower, strict=True)) for tower in (online, target))
    return ByolTrace(steps, mine, theirs, torch.stack(predictors), torch.stack(losses), diverged)


def _checked(
    weights: Weights, target: Weights | None, predictor: Any, population: FinitePopulation
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """Both towers, and the predictor where it is a matrix."""
    online = list(check_single(weights))
    other = online if target is None else list(check_single(target, place="target"))
    size = online[-1].shape[-2]
    for place, tower in (("weights", online), ("target", other)):
        if tower[0].shape[-1] != population.dimension:
            raise InputError(f"{place}[0] has {tower[0].shape[-1]} columns: must have {population.dimension}")
    if other[-1].shape[-2] != size:
        raise InputError(f"target has {other[-1].shape[-2]} outputs: must have {size}, those of weights")
    if predictor is None or callable(predictor):
        return online, other, None
    matrix = as_floating(predictor, "predictor").to(online[0])
    check_finite(matrix, "predictor")
    if tuple(matrix.shape) != (size, size):
        raise InputError(f"predictor has shape {tuple(matrix.shape)}: must be {(size, size)}")
    return online, other, matrix
