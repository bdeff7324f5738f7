"""A model whose next-token distribution is any function of source and prefix, and a bundle of letters."""

import math
import random
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs
from dragoman.model.build import build_model
from dragoman.model.contracts import Decoded, Memory, rows_of
from dragoman.recipe.loading import recipe_from
from dragoman.records import EOS, Example, Port, Sequence


@dataclass(frozen=True)
class TableState:
    memory: Memory
    beams: int
    prefixes_BT: Tensor

    def select(self, rows_B):
        beams = len(rows_B) // len(self.memory.mask_NS)
        stays = rows_B // self.beams == torch.arange(len(rows_B)) // beams
        assert (stays | (rows_B == -1)).all(), "rows left their source"
        return replace(self, prefixes_BT=self.prefixes_BT[rows_B], beams=beams)

    def keep(self, sources):
        rows_B = rows_of(sources, self.beams)
        return replace(self, memory=self.memory.keep(sources), prefixes_BT=self.prefixes_BT[rows_B])


class TableModel(nn.Module):
    """`table(source, prefix)` gives logits after a prefix, a tuple without BOS; a source is one token."""

    def __init__(self, table, size):
        super().__init__()
        self.table = table
        self.anchor = nn.Parameter(torch.zeros(1))
        self.source_port = self.target_port = Port("tokens", size)
        self.rows = []
        """Rows of each step."""

    def encode(self, source):
        values_NSD = source.values[:, :, None].double()
        return Memory(values_NSD, source.mask_BS, values_NSD[:, 0])

    def start(self, memory, beams=1):
        rows = len(memory.mask_NS) * beams
        return TableState(memory, beams, torch.zeros(rows, 0, dtype=torch.long))

    def advance(self, tokens_BT, state, reads=False):
        prefixes_BT = torch.cat([state.prefixes_BT, tokens_BT], dim=1)
        sources = state.memory.summary_ND[:, 0].long().repeat_interleave(state.beams).tolist()
        self.rows.append(len(sources))
        first = state.prefixes_BT.shape[1]
        outputs = [
            [self.table(source, tuple(prefix[1 : end + 1])) for end in range(first, len(prefix))]
            for source, prefix in zip(sources, prefixes_BT.tolist(), strict=True)
        ]
        looked_BTS = torch.zeros(*tokens_BT.shape, state.memory.mask_NS.shape[1])
        looked_BTS[..., 0] = 0.5  # all that is ever read is half of the first step
        decoded = Decoded(torch.tensor(outputs, dtype=torch.float64), looked_BTS if reads else None)
        return decoded, replace(state, prefixes_BT=prefixes_BT)

    def logits(self, outputs):
        return outputs.clone()


def logs(shares, size):
    """Logits of given probabilities by token; the others have none."""
    return [math.log(shares[token]) if shares.get(token) else -math.inf for token in range(size)]


def sources(*tokens, lengths=None):
    """One source a token, of the given lengths."""
    lengths = lengths or [1] * len(tokens)
    values_BS = torch.zeros(len(tokens), max(lengths), dtype=torch.long)
    values_BS[:, 0] = torch.tensor(tokens)
    return Sequence(values_BS, torch.tensor(lengths))


def random_table(size, seed=0, scale=2.0):
    """Logits drawn anew, and always alike, for every source and prefix."""

    def table(source, prefix):
        numbers = random.Random(f"{seed} {source} {prefix}")
        return [scale * numbers.gauss(0, 1) for _ in range(size)]

    return table


def leaves(size, longest):
    """All answers that end, of at most `longest` tokens."""
    grown = [()]
    for _ in range(longest):
        yield from ((*prefix, EOS) for prefix in grown)
        grown = [(*prefix, token) for prefix in grown for token in range(EOS + 1, size)]


@pytest.fixture(scope="session")
def fake():
    return SimpleNamespace(
        TableModel=TableModel, logs=logs, sources=sources, random_table=random_table, leaves=leaves
    )


LETTERS = "abcdefgh"


@pytest.fixture
def bundle_of():
    """Make a bundle of letters: with a tiny fresh float64 model by default, or with a model that is given."""

    def make(model=None, decoding=None, **decoder):
        recipe = recipe_from(
            {
                "run": "run",
                "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
                "source": {"kind": "characters"},
                "target": {"kind": "characters"},
                "training": {"max_steps": 1},
                "model": {
                    "encoder": {"kind": "gru", "width": 8},
                    "decoder": {"kind": "transformer", "width": 8, "layers": 1, "heads": 2, **decoder},
                },
                "decoding": {"method": "greedy", "max_length": 8} | (decoding or {}),
            }
        )
        codecs = learn_codecs(recipe, lambda: [Example(LETTERS, (LETTERS,))])
        if model is None:
            torch.manual_seed(1)
            model = build_model(recipe.model, codecs.source.port, codecs.target.port).double()
            with torch.no_grad():
                for weight in model.parameters():
                    weight.mul_(2.5)  # peaked distributions
                model.head.bias[EOS] += 1  # answers that end
        return Bundle(recipe, codecs, model)

    return make
