"""What is chosen before training: the shapes, and the settings of each model."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

from transformers import LlamaConfig

from tools.training.errors import TrainingError
from tools.training.tokenizer import VOCAB_SIZE

CONTEXT = 1024


@dataclass(frozen=True)
class Budget:
    """How long to train: minutes of training (compilation not counted), or an exact number of steps."""

    minutes: float = 0.0
    steps: int = 0

    def progress(self, step: int, seconds: float) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * self.minutes))


@dataclass(frozen=True)
class Settings:
    """How a model is trained; the defaults are those of the bundled target."""

    batch_size: int = 64  # windows a step
    context: int = CONTEXT
    python_share: float = 0.22  # of the windows; the share of the training tokens is 0.20
    optimizer: str = "muon"  # "muon" on the layers' matrices with AdamW on the rest, or "adamw" on all
    matrix_learning_rate: float = 0.02
    learning_rate: float = 0.003  # AdamW's
    weight_decay: float = 0.2
    dropout: float = 0.1  # of what each layer adds
    layer_dropout: float = 0.1  # of the last layer; rises from 0 at the first
    exit_weight: float = 1.0  # of the early-exit loss; 0 trains without it
    overlap_weight: float = 0.0  # of 1 - sum min(p, q) in the draft's loss
    seed: int = 0


DRAFT_SETTINGS = Settings(weight_decay=0.02, dropout=0.0, layer_dropout=0.0, exit_weight=0.0)
SettingsType = TypeVar("SettingsType", bound=Settings)


def with_overrides(settings: SettingsType, overrides: list[str]) -> SettingsType:
    """Settings with `name=value` words applied, each value read as its field's type."""
    kinds = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    for word in overrides:
        name, _, value = word.partition("=")
        if name not in kinds:
            raise TrainingError(f"no setting is named {name!r}; there are {', '.join(kinds)}")
        try:
            settings = replace(settings, **{name: kinds[name](value)})
        except ValueError:
            raise TrainingError(f"setting {name} takes a {kinds[name].__name__}, not {value!r}") from None
    return settings


def target_config() -> LlamaConfig:
    """The target's shape: 21.0M parameters, 8 layers of 8 heads, which draw as a square."""
    return _llama(hidden_size=512, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=8)


def draft_config() -> LlamaConfig:
    """The draft's shape: 2.5M parameters, half of them the embedding."""
    return _llama(hidden_size=256, intermediate_size=704, num_hidden_layers=2, num_attention_heads=4)


def toy_config() -> LlamaConfig:
    """A shape for trying the whole script on a CPU in a minute."""
    return _llama(hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4)


def _llama(
    *, hidden_size: int, intermediate_size: int, num_hidden_layers: int, num_attention_heads: int
) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=num_attention_heads,
        num_key_value_heads=num_attention_heads // 2,
        head_dim=hidden_size // num_attention_heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        use_cache=True,
    )
