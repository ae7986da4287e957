"""Models of PyTorch's libraries with random weights: of images as they are, of text with two small layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

Entry = tuple[Any, dict[str, Any]]  # a module, and its inputs by the names of its arguments
Maker = Callable[[], Entry]

TOKENS = 50  # of all vocabularies
BLOCKS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
WORDS = {**BLOCKS, "vocab_size": TOKENS}
CAUSAL = {**WORDS, "num_key_value_heads": 2, "pad_token_id": 0, "use_cache": False}
SHORT = {"hidden_size": 32, "vocab_size": TOKENS, "use_cache": False}
LAYERS = {"d_model": 32, "vocab_size": TOKENS, "use_cache": False} | {
    f"{side}_{name}": number
    for side in ("encoder", "decoder")
    for name, number in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()
}
TEXT, PROMPT = {"input_ids": (1, 16), "attention_mask": (1, 16)}, {"input_ids": (1, 8)}
PAIR = {"input_ids": (1, 8), "decoder_input_ids": (1, 6)}
IMAGE = {"pixel_values": (1, 3, 64, 64)}

TORCHVISION = {
    64: "convnext_tiny densenet121 efficientnet_v2_s googlenet mnasnet0_5 mobilenet_v3_small regnet_x_400mf"
    " regnet_y_400mf resnext50_32x4d shufflenet_v2_x0_5 swin_t swin_v2_t wide_resnet50_2",
    96: "inception_v3 deeplabv3_mobilenet_v3_large fcn_resnet50 lraspp_mobilenet_v3_large",
    224: "maxvit_t vit_b_32",
}  # by the size of the image
TIMM = (
    "botnet26t_256 cait_xxs24_224 coat_lite_tiny convmixer_768_32 crossvit_tiny_240 cspdarknet53 davit_tiny"
    " deit_tiny_patch16_224 dla34 dpn68 edgenext_xx_small efficientformerv2_s0 efficientvit_b0 eva02_tiny_patch14_224"
    " fastvit_t8 focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_100 halonet26t hrnet_w18_small inception_next_tiny"
    " lambda_resnet26t lcnet_050 levit_128s mixer_s32_224 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs"
    " mvitv2_tiny nfnet_l0 poolformer_s12 pvt_v2_b0 repghostnet_050 repvgg_a0 res2net50_26w_4s resmlp_12_224"
    " rexnet_100 selecsls42b sequencer2d_s skresnet18 starnet_s1 tf_efficientnet_lite0 tiny_vit_5m_224 tinynet_e"
    " tnt_s_patch16_224 vit_small_patch14_dinov2 volo_d1_224 vovnet39a xcit_nano_12_p16_224"
)
ENCODERS = "Bert Roberta XLMRoberta Camembert Ernie MPNet Nystromformer ConvBert Deberta DebertaV2 Electra RoFormer"
DECODERS = "Llama Mistral Qwen2 Qwen3 Gemma Gemma2 Phi Phi3 Olmo2 StableLm Granite SmolLM3 Cohere"
OTHERS: Mapping[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "AlbertModel": (TEXT, {**WORDS, "embedding_size": 16}),
    "MobileBertModel": (TEXT, {**WORDS, "embedding_size": 32, "intra_bottleneck_size": 32}),
    "ModernBertModel": (TEXT, {**WORDS, "pad_token_id": 0}),
    "DistilBertModel": (TEXT, {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": TOKENS}),
    "CLIPTextModel": ({"input_ids": (1, 16)}, WORDS),
    "GPT2LMHeadModel": (PROMPT, {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": TOKENS, "use_cache": False}),
    "GPTNeoXForCausalLM": (PROMPT, {**WORDS, "use_cache": False}),
    "BloomForCausalLM": (PROMPT, {**SHORT, "n_layer": 2, "n_head": 4}),
    "OPTForCausalLM": (PROMPT, {**WORDS, "ffn_dim": 64, "word_embed_proj_dim": 32, "use_cache": False}),
    "MambaModel": (PROMPT, {**SHORT, "num_hidden_layers": 2, "state_size": 8}),
    "BartModel": (PAIR, LAYERS),
    "WhisperModel": (
        {"input_features": (1, 80, 100), "decoder_input_ids": (1, 6)},
        LAYERS
        | {"max_source_positions": 50, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1}
        | {"eos_token_id": 2, "decoder_start_token_id": 1},
    ),
    "Wav2Vec2Model": (
        {"input_values": (1, 4000)},
        {**BLOCKS, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    ),
    "ViTModel": (IMAGE, {**BLOCKS, "image_size": 64}),
    "CLIPVisionModel": (IMAGE, {**BLOCKS, "image_size": 64, "patch_size": 16}),
    "YolosForObjectDetection": (IMAGE, {**BLOCKS, "image_size": [64, 64], "num_detection_tokens": 10}),
    "SegformerForSemanticSegmentation": (
        IMAGE,
        {"hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1], "decoder_hidden_size": 32},
    ),
    "DetrForObjectDetection": (
        {"pixel_values": (1, 3, 96, 96)},
        {**LAYERS, "use_pretrained_backbone": False, "backbone": "resnet18", "use_timm_backbone": True},
    ),
}


def makers() -> dict[str, Maker]:
    """By name, as `timm/dla34`."""
    found: dict[str, Maker] = {}
    for size, names in TORCHVISION.items():
        found |= {f"torchvision/{name}": partial(_torchvision, name, size) for name in names.split()}
    found |= {f"timm/{name}": partial(_timm, name) for name in TIMM.split()}
    for name in ENCODERS.split():
        settings = {**WORDS, "embedding_size": 32}  # of those that have one
        found[f"transformers/{name}Model"] = partial(_transformer, f"{name}Model", TEXT, settings)
    for name in DECODERS.split():
        found[f"transformers/{name}ForCausalLM"] = partial(_transformer, f"{name}ForCausalLM", PROMPT, CAUSAL)
    for name, (inputs, settings) in OTHERS.items():
        found[f"transformers/{name}"] = partial(_transformer, name, inputs, settings)
    return found


def _torchvision(name: str, size: int) -> Entry:
    import torch
    import torchvision

    choices = {"weights": None}
    if name.startswith(("deeplabv3", "fcn", "lraspp")):
        choices["weights_backbone"] = None
    return torchvision.models.get_model(name, **choices), {"x": torch.randn(1, 3, size, size)}


def _timm(name: str) -> Entry:
    import timm
    import torch

    module = timm.create_model(name, pretrained=False)
    return module, {"x": torch.randn(1, *module.default_cfg["input_size"])}


def _transformer(name: str, inputs: dict[str, tuple[int, ...]], settings: dict[str, Any]) -> Entry:
    """Of a model that returns a record, what of it is a tensor."""
    import torch
    import transformers

    kind = getattr(transformers, name)
    module = kind(kind.config_class(**settings))

    class Tensors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *values: Any) -> tuple[Any, ...]:
            made = self.module(**dict(zip(inputs, values, strict=True)))
            return tuple(value for value in made.values() if isinstance(value, torch.Tensor))

    return Tensors(), {name: _values(torch, name, shape) for name, shape in inputs.items()}


def _values(torch: Any, name: str, shape: tuple[int, ...]) -> Any:
    if name == "attention_mask":
        return torch.ones(shape, dtype=torch.int64)
    return torch.randint(0, TOKENS, shape) if name.endswith("_ids") else torch.randn(shape)
