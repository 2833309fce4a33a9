"""Loads what `hugging_face.rs` wrote with transformers and compares.

    python hugging_face.py decoder FOLDER

FOLDER holds `model.safetensors`, `config.json` and `case.json`. Prints one JSON object.
"""

import json
import pathlib
import sys

import torch
import transformers


def decoder(folder):
    model, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # The output map is the embedding.
        names = [name for name in told[kind] if name != "lm_head.weight"]
        if names:
            raise SystemExit(f"{kind}: {names}")
    case = json.loads((folder / "case.json").read_text())
    tokens = torch.tensor(case["tokens"])
    with torch.no_grad():
        found = model(input_ids=tokens).logits
    wanted = torch.tensor(case["logits"]).reshape(found.shape)
    return {
        "largest_difference": (found - wanted).abs().max().item(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "class": type(model).__name__,
    }


def main():
    kind, folder = sys.argv[1:]
    print(json.dumps({"decoder": decoder}[kind](pathlib.Path(folder))))


if __name__ == "__main__":
    main()
