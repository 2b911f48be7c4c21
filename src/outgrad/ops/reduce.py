"""Sums, means, variances and standard deviations over samples and over properties."""

from __future__ import annotations

from outgrad.engine.reduce.blocks import reduced
from outgrad.engine.reduce.chunks import SPREAD
from outgrad.errors import ValidationError
from outgrad.ops.operands import Names, T, content, like, names_of
from outgrad.ops.twins import block_twin


def sum_over_samples(tensor: T, sample_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Sum over samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \sum_{i \in g} X_i, \qquad \nabla h_g = \sum_{i \in g} \nabla X_i

    The groups g are the distinct values of the remaining dimensions, in sorted order. Gradient rows of one
    group that have the same labels apart from ``sample`` are summed.

    Floating-point numbers are summed in float64 and the sum is stored in the dtype of the map. Integers are
    summed in their own dtype and can overflow.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Sample dimensions to reduce over. If none remains, the result has the single sample ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``sample_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P), with one sample for each of the G groups.

    Raises
    ------
    ValidationError
        If a sample dimension does not exist, or not exactly one of ``sample_names`` and ``by`` is given.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [4.0]]), samples, [], og.Labels.range("n", 1))
    >>> og.sum_over_samples(block, "atom").values
    array([[3.],
           [4.]])
    """
    return _reduced("sum", "sum_over_samples", tensor, "samples", sample_names, by)


def mean_over_samples(tensor: T, sample_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Average over samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{i \in g} X_i, \qquad \nabla h_g = \frac{1}{N_g} \sum_{i \in g} \nabla X_i

    The groups g are the distinct values of the remaining dimensions, in sorted order. Gradient rows of one
    group that have the same labels apart from ``sample`` are averaged. N is the number of samples in the
    group, including those without a gradient row: a missing row is zero.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Sample dimensions to reduce over. If none remains, the result has the single sample ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``sample_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P), with one sample for each of the G groups; integers become float64.

    Raises
    ------
    ValidationError
        If a sample dimension does not exist, or not exactly one of ``sample_names`` and ``by`` is given.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [4.0]]), samples, [], og.Labels.range("n", 1))
    >>> og.mean_over_samples(block, "atom").values
    array([[1.5],
           [4. ]])
    """
    return _reduced("mean", "mean_over_samples", tensor, "samples", sample_names, by)


def var_over_samples(tensor: T, sample_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Take the variance over samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{i \in g} (X_i - \mu_g)^2, \qquad
        \nabla h_g = \frac{2}{N_g} \sum_{i \in g} (X_i - \mu_g) \nabla X_i

    The groups g are the distinct values of the remaining dimensions, in sorted order. N is the number of
    samples in the group and μ their mean; there is no N − 1 correction.

    Gradient rows of one group that have the same labels apart from ``sample`` become one row. Samples without
    a gradient row count too: a missing row is zero.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Sample dimensions to reduce over. If none remains, the result has the single sample ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``sample_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P), with one sample for each of the G groups; integers become float64.

    Raises
    ------
    ValidationError
        If a sample dimension does not exist, not exactly one of ``sample_names`` and ``by`` is given, or the
        values are complex.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [4.0]]), samples, [], og.Labels.range("n", 1))
    >>> og.var_over_samples(block, "atom").values
    array([[0.25],
           [0.  ]])
    """
    return _reduced("var", "var_over_samples", tensor, "samples", sample_names, by)


def std_over_samples(tensor: T, sample_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Take the standard deviation over samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \sqrt{\mathrm{var}_g}, \qquad \nabla h_g = \frac{\nabla \mathrm{var}_g}{2 h_g}

    The groups g are the distinct values of the remaining dimensions, in sorted order. The variance and its
    gradient are those of :func:`var_over_samples`. Where the variance is 0, the gradient is 0.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Sample dimensions to reduce over. If none remains, the result has the single sample ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``sample_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P), with one sample for each of the G groups; integers become float64.

    Raises
    ------
    ValidationError
        If a sample dimension does not exist, not exactly one of ``sample_names`` and ``by`` is given, or the
        values are complex.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    >>> block = og.TensorBlock(np.array([[1.0], [2.0], [4.0]]), samples, [], og.Labels.range("n", 1))
    >>> og.std_over_samples(block, "atom").values
    array([[0.5],
           [0. ]])
    """
    return _reduced("std", "std_over_samples", tensor, "samples", sample_names, by)


def sum_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Sum over properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \sum_{p \in g} X_p, \qquad \nabla h_g = \sum_{p \in g} \nabla X_p

    The groups g are the distinct values of the remaining dimensions, in sorted order. Gradient rows stay as
    they are.

    Floating-point numbers are summed in float64 and the sum is stored in the dtype of the map. Integers are
    summed in their own dtype and can overflow.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Property dimensions to reduce over. If none remains, the result has the single property ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``property_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G), with one property for each of the G groups.

    Raises
    ------
    ValidationError
        If a property dimension does not exist, or not exactly one of ``property_names`` and ``by`` is given.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0, 4.0]]))
    >>> og.sum_over_properties(block, "property").values
    array([[7.]])
    """
    return _reduced("sum", "sum_over_properties", tensor, "properties", property_names, by)


def mean_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Average over properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{p \in g} X_p, \qquad \nabla h_g = \frac{1}{N_g} \sum_{p \in g} \nabla X_p

    The groups g are the distinct values of the remaining dimensions, in sorted order, and N is the number of
    properties in a group. Gradient rows stay as they are.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Property dimensions to reduce over. If none remains, the result has the single property ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``property_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G), with one property for each of the G groups; integers become float64.

    Raises
    ------
    ValidationError
        If a property dimension does not exist, or not exactly one of ``property_names`` and ``by`` is given.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0, 3.0]]))
    >>> og.mean_over_properties(block, "property").values
    array([[2.]])
    """
    return _reduced("mean", "mean_over_properties", tensor, "properties", property_names, by)


def var_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Take the variance over properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{p \in g} (X_p - \mu_g)^2, \qquad
        \nabla h_g = \frac{2}{N_g} \sum_{p \in g} (X_p - \mu_g) \nabla X_p

    The groups g are the distinct values of the remaining dimensions, in sorted order. N is the number of
    properties in the group and μ their mean; there is no N − 1 correction. Gradient rows stay as they are.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Property dimensions to reduce over. If none remains, the result has the single property ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``property_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G), with one property for each of the G groups; integers become float64.

    Raises
    ------
    ValidationError
        If a property dimension does not exist, not exactly one of ``property_names`` and ``by`` is given, or
        the values are complex.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 1.0, 4.0, 4.0]]))
    >>> og.var_over_properties(block, "property").values
    array([[2.25]])
    """
    return _reduced("var", "var_over_properties", tensor, "properties", property_names, by)


def std_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Take the standard deviation over properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \sqrt{\mathrm{var}_g}, \qquad \nabla h_g = \frac{\nabla \mathrm{var}_g}{2 h_g}

    The groups g are the distinct values of the remaining dimensions, in sorted order. The variance and its
    gradient are those of :func:`var_over_properties`. Where the variance is 0, the gradient is 0.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Property dimensions to reduce over. If none remains, the result has the single property ``_ = 0``.
    by : str or list of str
        The dimensions to keep, as an alternative to ``property_names``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G), with one property for each of the G groups; integers become float64.

    Raises
    ------
    ValidationError
        If a property dimension does not exist, not exactly one of ``property_names`` and ``by`` is given, or
        the values are complex.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 1.0, 5.0, 5.0]]))
    >>> og.std_over_properties(block, "property").values
    array([[2.]])
    """
    return _reduced("std", "std_over_properties", tensor, "properties", property_names, by)


def _reduced(
    kind: str,
    call: str,
    tensor: T,
    axis: str,
    names: Names | None,
    by: Names | None,
) -> T:
    """Reduce the entries of ``axis`` that differ only in ``names``, or that agree in ``by``."""
    blocks = content(call, "tensor", tensor)
    if not len(blocks):  # there are no dimensions that names could be compared with
        return like(tensor, blocks)
    # The square of a complex deviation is no variance, and its modulus has no complex derivative.
    if kind in SPREAD and blocks.dtype(0).kind == "c":
        raise ValidationError(
            f"{call}: the values are {blocks.dtype(0)}, but a variance needs real numbers; "
            "take the variances of the real and the imaginary part"
        )
    argument = "sample_names" if axis == "samples" else "property_names"
    if (names is None) == (by is None):
        got = "neither" if by is None else "both"
        raise ValidationError(
            f"{call}: got {got} of {argument} (to reduce over) and by (to keep); give exactly one of them"
        )
    named = names_of(call, argument, names) if by is None else names_of(call, "by", by)
    dimensions = getattr(blocks.metadata[0], axis).names
    unknown = [name for name in named if name not in dimensions]
    if unknown:
        raise ValidationError(f"{call}: {unknown} not found in the {axis}, whose dimensions are {dimensions}")
    kept = [name for name in dimensions if (name in named) == (by is not None)]
    return like(tensor, reduced(kind, blocks, axis, kept))


sum_over_samples_block = block_twin(sum_over_samples)
mean_over_samples_block = block_twin(mean_over_samples)
var_over_samples_block = block_twin(var_over_samples)
std_over_samples_block = block_twin(std_over_samples)
sum_over_properties_block = block_twin(sum_over_properties)
mean_over_properties_block = block_twin(mean_over_properties)
var_over_properties_block = block_twin(var_over_properties)
std_over_properties_block = block_twin(std_over_properties)
