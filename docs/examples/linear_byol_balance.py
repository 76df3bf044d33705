"""Tian, Chen and Ganguli 2021 (arXiv 2102.06810), Theorem 1: W W^T - W_p^T W_p / alpha_p decays as exp(-2 eta t)."""

from dataclasses import dataclass

import sympy
import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import eighths, matrices


@dataclass(frozen=True)
class Byol(JsonInstance):
    parts: tuple[tuple[tuple[float, ...], ...], ...]  # W, W_p, one view x of samples, the target's output on the other
    rates: tuple[float, float]  # eta and alpha_p


@st.composite
def byol(draw, n):
    a, b, m = (draw(st.integers(1, n)) for _ in range(3))
    sizes = (b, a), (b, b), (m, a), (m, b)
    return Byol(tuple(draw(matrices(*size)) for size in sizes), draw(st.tuples(eighths(0, 8), eighths(1, 16))))


def balance(i, at, sign=1, swapped=False, rate=2):
    (w, p, _, _), (eta, alpha) = map(at.array, i.parts), at.array(i.rates)
    return -rate * eta * (w @ w.T - sign * (p @ p.T if swapped else p.T @ p) / alpha)


def measured(i, at):
    (w, p, x, y), (eta, alpha) = map(at.tensor, i.parts), at.tensor(i.rates)
    w, p = w.requires_grad_(), p.requires_grad_()
    dw, dp = torch.autograd.grad((x @ w.T @ p.T - y).square().sum() / 2, (w, p))
    half = (-dw - eta * w) @ w.T - p.T @ (-alpha * dp - eta * p) / alpha
    return half + half.T


def proof():
    n, m = sympy.symbols("n m", positive=True, integer=True)
    W, P, G = (sympy.MatrixSymbol(name, n, n if name == "P" else m) for name in "WPG")
    eta, alpha = sympy.Symbol("eta", real=True), sympy.Symbol("alpha", positive=True)
    half = (P.T * G - eta * W) * W.T - P.T * (alpha * G * W.T - eta * P) / alpha
    return sympy.Eq(half + half.T, -2 * eta * (W * W.T - P.T * P / alpha), evaluate=False)


def values(i, at):
    (w, p, x, y), (eta, alpha) = map(at.array, i.parts), at.array(i.rates)
    return {"W": w, "P": p, "G": (y - x @ w.T @ p.T).T @ x, "eta": eta, "alpha": alpha}


BALANCE = user_statement(
    title="linear BYOL balance", claim=r"\tfrac{d}{dt} (W W^\top - W_p^\top W_p/\alpha_p) = -2\eta\,(\dots)",
    source="arXiv 2102.06810, Theorem 1", strategy=[byol(1), byol(3)],
    theory=balance, numeric=measured, symbolic=proof, values=values,
    variants={"sum": lambda i, at: balance(i, at, sign=-1), "rate": lambda i, at: balance(i, at, rate=1),
              "swapped": lambda i, at: balance(i, at, swapped=True)},
)  # fmt: skip
