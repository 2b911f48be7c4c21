"""Sums, means, variances and standard deviations over samples and over properties."""

from __future__ import annotations

from outgrad.engine.reduce.blocks import reduced
from outgrad.engine.reduce.chunks import SPREAD
from outgrad.errors import ValidationError
from outgrad.ops.operands import Names, T, block_twin, content, like, names_of


def sum_over_samples(tensor: T, sample_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Sum the samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \sum_{i \in g} X_i, \qquad \nabla h_g = \sum_{i \in g} \nabla X_i

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows are reduced
    where all labels but ``sample`` agree.
    Floating-point sums are taken in float64 and stored in the dtype of
    the map; integers are summed in their own dtype, and can overflow.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Dimensions of the samples to reduce; without any left, the result has the one sample ``_ = 0``.
    by : str or list of str
        Instead of ``sample_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P) for G groups.

    Raises
    ------
    ValidationError
        If there is no sample dimension of such a name, or not exactly one of the two arguments is given.

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
    r"""Average the samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{i \in g} X_i, \qquad \nabla h_g = \frac{1}{N_g} \sum_{i \in g} \nabla X_i

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows are reduced
    where all labels but ``sample`` agree.
    N is the number of samples of the group, whether or not they have a
    gradient row: a missing row is zero.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Dimensions of the samples to reduce; without any left, the result has the one sample ``_ = 0``.
    by : str or list of str
        Instead of ``sample_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P) for G groups; integers become float64.

    Raises
    ------
    ValidationError
        If there is no sample dimension of such a name, or not exactly one of the two arguments is given.

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
    r"""Take the variance of the samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{i \in g} (X_i - \mu_g)^2, \qquad
        \nabla h_g = \frac{2}{N_g} \sum_{i \in g} (X_i - \mu_g) \nabla X_i

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows are reduced
    where all labels but ``sample`` agree.
    N is the number of samples of the group and μ their mean; there is no
    correction for N - 1. A missing gradient row is zero.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Dimensions of the samples to reduce; without any left, the result has the one sample ``_ = 0``.
    by : str or list of str
        Instead of ``sample_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P) for G groups; integers become float64.

    Raises
    ------
    ValidationError
        If there is no sample dimension of such a name, if not exactly one of the two arguments is given, or
        if the values are complex.

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
    r"""Take the standard deviation of the samples that differ only in the dimensions ``sample_names``.

    .. math::

        h_g = \sqrt{\mathrm{var}_g}, \qquad \nabla h_g = \frac{\nabla \mathrm{var}_g}{2 h_g}

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows are reduced
    where all labels but ``sample`` agree.
    The variance is that of :func:`var_over_samples`. Where it is 0 the
    gradient is 0.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    sample_names : str or list of str
        Dimensions of the samples to reduce; without any left, the result has the one sample ``_ = 0``.
    by : str or list of str
        Instead of ``sample_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (G, \*C, P) for G groups; integers become float64.

    Raises
    ------
    ValidationError
        If there is no sample dimension of such a name, if not exactly one of the two arguments is given, or
        if the values are complex.

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
    r"""Sum the properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \sum_{p \in g} X_p, \qquad \nabla h_g = \sum_{p \in g} \nabla X_p

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows stay
    as they are.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Dimensions of the properties to reduce; without any left, the result has the one property ``_ = 0``.
    by : str or list of str
        Instead of ``property_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G) for G groups.

    Raises
    ------
    ValidationError
        If there is no property dimension of such a name, or not exactly one of the two arguments is given.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0, 4.0]]))
    >>> og.sum_over_properties(block, "property").values
    array([[7.]])
    """
    return _reduced("sum", "sum_over_properties", tensor, "properties", property_names, by)


def mean_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Average the properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{p \in g} X_p, \qquad \nabla h_g = \frac{1}{N_g} \sum_{p \in g} \nabla X_p

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows stay
    as they are.
    N is the number of properties of the group.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Dimensions of the properties to reduce; without any left, the result has the one property ``_ = 0``.
    by : str or list of str
        Instead of ``property_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G) for G groups; integers become float64.

    Raises
    ------
    ValidationError
        If there is no property dimension of such a name, or not exactly one of the two arguments is given.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0, 3.0]]))
    >>> og.mean_over_properties(block, "property").values
    array([[2.]])
    """
    return _reduced("mean", "mean_over_properties", tensor, "properties", property_names, by)


def var_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Take the variance of the properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \frac{1}{N_g} \sum_{p \in g} (X_p - \mu_g)^2, \qquad
        \nabla h_g = \frac{2}{N_g} \sum_{p \in g} (X_p - \mu_g) \nabla X_p

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows stay
    as they are.
    N is the number of properties of the group and μ their mean; there
    is no correction for N - 1.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Dimensions of the properties to reduce; without any left, the result has the one property ``_ = 0``.
    by : str or list of str
        Instead of ``property_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G) for G groups; integers become float64.

    Raises
    ------
    ValidationError
        If there is no property dimension of such a name, if not exactly one of the two arguments is given, or
        if the values are complex.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 1.0, 4.0, 4.0]]))
    >>> og.var_over_properties(block, "property").values
    array([[2.25]])
    """
    return _reduced("var", "var_over_properties", tensor, "properties", property_names, by)


def std_over_properties(tensor: T, property_names: Names | None = None, *, by: Names | None = None) -> T:
    r"""Take the standard deviation of the properties that differ only in the dimensions ``property_names``.

    .. math::

        h_g = \sqrt{\mathrm{var}_g}, \qquad \nabla h_g = \frac{\nabla \mathrm{var}_g}{2 h_g}

    The groups g are the distinct values of the remaining dimensions, sorted. Gradient rows stay
    as they are.
    The variance is that of :func:`var_over_properties`. Where it is 0 the
    gradient is 0.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    property_names : str or list of str
        Dimensions of the properties to reduce; without any left, the result has the one property ``_ = 0``.
    by : str or list of str
        Instead of ``property_names``: the dimensions that stay.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, G) for G groups; integers become float64.

    Raises
    ------
    ValidationError
        If there is no property dimension of such a name, if not exactly one of the two arguments is given, or
        if the values are complex.

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
            f"{call}: the values are {blocks.dtype(0)}, but a variance is taken of real numbers; "
            "take that of the real and of the imaginary part"
        )
    argument = "sample_names" if axis == "samples" else "property_names"
    if (names is None) == (by is None):
        raise ValidationError(f"{call}: give either {argument}, what is reduced, or by, what stays")
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
