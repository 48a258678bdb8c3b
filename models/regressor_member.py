"""What a regressor is made of: dense layers, or support vectors with a Gaussian kernel; numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class MemberError(ValueError):
    """A member's numbers do not fit each other; the message says which."""


def _linear(x: Array) -> Array:
    return x


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


_ACTIVATIONS = {"linear": _linear, "elu": _elu}


@dataclass(frozen=True, slots=True)
class Layer:
    """Dense layer: weight (out, in), bias (out,), activation by name ("linear" or "elu")."""

    weight: Array
    bias: Array
    activation: str


@dataclass(frozen=True, slots=True)
class DenseMember:
    """Layers one after the other: the linear models (one layer) and the network (two)."""

    layers: tuple[Layer, ...]

    def answer(self, x: Array) -> Array:
        """Return (M,) for standardized features (M, F), not clipped."""
        for layer in self.layers:
            x = _ACTIVATIONS[layer.activation](x @ layer.weight.T + layer.bias)
        return x[:, 0]

    def as_json(self) -> list[dict[str, object]]:
        """Return what a regressor's file holds: a list of layers."""
        return [
            {
                "weight": layer.weight.tolist(),
                "bias": layer.bias.tolist(),
                "activation": layer.activation,
            }
            for layer in self.layers
        ]

    def check(self, inputs: int) -> None:
        """Raise MemberError unless it turns `inputs` finite numbers into one."""
        width: tuple[int, ...] = (inputs,)
        for layer in self.layers:
            if layer.activation not in _ACTIVATIONS:
                raise MemberError(f"unknown activation {layer.activation!r}")
            if layer.weight.shape != layer.bias.shape + width or layer.bias.ndim != 1:
                raise MemberError("the shapes of the layers do not fit each other")
            if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
                raise MemberError("a weight is not finite")
            width = layer.bias.shape
        if width != (1,):
            raise MemberError("the last layer must give one number")


@dataclass(frozen=True, slots=True)
class GaussianMember:
    """Support vector machine: sum_i dual_i exp(-gamma |x - support_i|^2) + bias.

    support: (S, F), standardized features of S training photographs. dual: (S,). gamma: above zero.
    """

    support: Array
    dual: Array
    bias: float
    gamma: float

    def answer(self, x: Array) -> Array:
        """Return (M,) for standardized features (M, F), not clipped."""
        squared = ((x[:, None] - self.support) ** 2).sum(2)
        return np.asarray(np.exp(-self.gamma * squared) @ self.dual + self.bias)

    def as_json(self) -> dict[str, object]:
        """Return what a regressor's file holds."""
        return {
            "kernel": "rbf",
            "support": self.support.tolist(),
            "dual": self.dual.tolist(),
            "bias": self.bias,
            "gamma": self.gamma,
        }

    def check(self, inputs: int) -> None:
        """Raise MemberError unless it turns `inputs` finite numbers into one."""
        if self.dual.ndim != 1 or self.support.shape != (len(self.dual), inputs):
            raise MemberError("support and dual do not fit each other, or the features")
        if not (np.isfinite(self.support).all() and np.isfinite(self.dual).all() and np.isfinite(self.bias)):
            raise MemberError("a support vector, its weight or the bias is not finite")
        if not (np.isfinite(self.gamma) and self.gamma > 0):
            raise MemberError("gamma must be finite and above zero")


Member = DenseMember | GaussianMember


def member_from_json(values: object) -> Member:
    """Read a member: a list of layers, or an object with a kernel.

    Raises MemberError, KeyError, TypeError or ValueError for anything else.
    """
    if isinstance(values, Mapping):
        if values["kernel"] != "rbf":
            raise MemberError(f"unknown kernel {values['kernel']!r}")
        return GaussianMember(
            support=np.array(values["support"], dtype=np.float64),
            dual=np.array(values["dual"], dtype=np.float64),
            bias=float(values["bias"]),
            gamma=float(values["gamma"]),
        )
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError("a member must be a list of layers or an object with a kernel")
    return DenseMember(tuple(_layer(layer) for layer in values))


def _layer(values: Mapping[str, object]) -> Layer:
    weight, bias = (np.array(values[key], dtype=np.float64) for key in ("weight", "bias"))
    return Layer(weight, bias, str(values["activation"]))


def mean_answer(members: Sequence[Member], x: Array) -> Array:
    """Return the members' mean answer (M,) to standardized features (M, F), not clipped."""
    return np.asarray(np.mean([member.answer(x) for member in members], axis=0))
