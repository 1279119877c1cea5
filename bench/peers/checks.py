"""Whether a running peer answers like eager PyTorch does one request at a time, over every protocol it speaks.

Requests of unequal lengths, some of several rows, are sent all at once and three times over, so that they meet in
batches where the peer joins them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy
from tritonclient import grpc

from mixes import tokenizer
from peer import PROTOCOLS, Peer, difference
from protocol import NAMES, infer
from served_models import OUTPUTS, TOLERANCES, Request, load, padded

SENTENCES = [
    "Shoals move as one.",
    "A man with a hard hat is dancing.",
    "Yes",
    "Nobody counted the herring, but everyone who stood on the pier that morning agreed that there were more of them "
    "than there had been in any year since the old harbour was built.",
    "The queue is bounded, and whoever comes too late is told so at once.",
    "What is measured here is the server, not the model: all of them serve the very same weights.",
]


def requests(model: str) -> list[Request]:
    if model == "identity":
        draw = numpy.random.default_rng(1)
        return [{"x": draw.random((rows, 5 + 7 * rows), dtype=numpy.float32)} for rows in (1, 4, 1, 2, 3)]
    rows = [numpy.array([encoding.ids]) for encoding in tokenizer().encode_batch(SENTENCES)]
    groups = [[row] for row in rows] + [rows[:3], rows[3:]]
    return [{"input_ids": padded(g), "attention_mask": padded([numpy.ones_like(row) for row in g])} for g in groups]


def ask_grpc(address: str, model: str, inputs: Request) -> Request:
    tensors = []
    for name, value in inputs.items():
        tensors.append(grpc.InferInput(name, value.shape, NAMES[value.dtype]))
        tensors[-1].set_data_from_numpy(value)
    with grpc.InferenceServerClient(address) as client:
        answer = client.infer(model, tensors)
        return {name: answer.as_numpy(name) for name in OUTPUTS[model]}


def ask(peer: Peer, protocol: str, model: str, inputs: Request) -> Request:
    if protocol == "grpc" and peer.addresses.grpc:
        return ask_grpc(peer.addresses.grpc, model, inputs)
    return infer(peer.addresses.http, model, inputs, protocol == "binary")


def check(peer: Peer) -> bool:
    """Prints a line for each model and protocol; True if every answer is within the tolerance."""
    good = True
    for model in peer.models:
        run = load(model, "tuned")
        sent = requests(model)
        expected = [run([r])[0] for r in sent]
        for protocol in PROTOCOLS[peer.name]:
            with ThreadPoolExecutor(len(sent) * 3) as pool:
                answers = list(pool.map(partial(ask, peer, protocol, model), sent * 3))
            worst = max(
                difference(got[name], wanted[name])
                for got, wanted in zip(answers, expected * 3, strict=True)
                for name in OUTPUTS[model]
            )
            good &= worst <= TOLERANCES[peer.setting]
            verdict = "as eager" if worst <= TOLERANCES[peer.setting] else "WRONG"
            print(f"{model} {protocol}: {len(answers)} answers, off by {worst:.1e} at most: {verdict}", flush=True)
    return good
