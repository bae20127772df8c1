"""From activations to codes: sparse rows over the neurons of a space."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array, vstack

from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.model import SAE


def rows_to_csr(values: Float[np.ndarray, "m k"], neurons: np.ndarray, n: int) -> csr_array:
    """Codes of m images as a matrix [m, n]: positive values only, neurons ascending in each row.

    Args:
        values: Values, zero or negative where nothing fires.
        neurons: The neuron of each value.
        n: Number of neurons.
    """
    order = np.argsort(neurons, axis=1, kind="stable")
    values, neurons = np.take_along_axis(values, order, 1), np.take_along_axis(neurons, order, 1)
    fires = values > 0
    starts = np.concatenate([[0], np.cumsum(fires.sum(axis=1))])
    return csr_array((values[fires].astype(np.float32), neurons[fires], starts), shape=(len(values), n))


@torch.inference_mode()
def encode_latents(sae: SAE, x: Float[np.ndarray, "m d"], batch_size: int) -> csr_array:
    """Codes over an SAE's latents.

    Args:
        sae: The SAE.
        x: Activations.
        batch_size: Images at once.
    """
    found = []
    for start in range(0, len(x), batch_size):
        pre = sae.pre(torch.tensor(x[start : start + batch_size]).to(sae.b_dec))
        if isinstance(sae.activation, TopK):
            values, neurons = sae.activation.sparse(pre)
            found.append(rows_to_csr(values.cpu().numpy(), neurons.cpu().numpy(), sae.n))
        else:
            found.append(csr_array(sae.activation.dense(pre).cpu().numpy()))
    return csr_array(vstack(found, format="csr")) if found else csr_array((0, sae.n), dtype=np.float32)


def encode_units(normalisation: Normalisation, x: Float[np.ndarray, "m d"], top: int) -> csr_array:
    """Codes over units: of z = (a − mean)/std the ``top`` largest, where positive; ties go to the lower unit.

    Args:
        normalisation: Mean and standard deviation of each unit.
        x: Activations.
        top: Units kept for an image.
    """
    z = (x - normalisation.mean) / normalisation.std
    units = np.argsort(-z, axis=1, kind="stable")[:, : min(top, z.shape[1])]
    return rows_to_csr(np.take_along_axis(z, units, 1), units, z.shape[1])
