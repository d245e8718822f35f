"""Federated SGD (McMahan et al., 2017): one gradient per device and round. The bound is about this one."""

from prefine.models.algorithms.fedavg import FedAvg


class FedSGD(FedAvg):
    """Federated averaging with one local step: u_k = grad F_k(w), so a round is one step of SGD on the task loss."""

    max_local_steps = 1
