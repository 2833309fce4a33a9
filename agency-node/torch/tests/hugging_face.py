"""Loads what `hugging_face.rs` wrote with transformers and compares.

    python hugging_face.py decoder FOLDER
    python hugging_face.py encoder FOLDER

FOLDER holds `case.json` and, for a decoder, `model.safetensors` and `config.json`. Prints one JSON
object.
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


def encoder(folder):
    """Embeddings as sentence-transformers makes them: mean over tokens, length one."""
    case = json.loads((folder / "case.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["model"])
    model = transformers.AutoModel.from_pretrained(case["model"], dtype=torch.float32).eval()
    batch = tokenizer(case["sentences"], padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    weights = batch["attention_mask"].unsqueeze(-1).float()
    mean = (hidden * weights).sum(1) / weights.sum(1)
    found = torch.nn.functional.normalize(mean, dim=1)
    wanted = torch.tensor(case["embeddings"]).reshape(found.shape)
    return {"largest_difference": (found - wanted).abs().max().item()}


def main():
    kind, folder = sys.argv[1:]
    print(json.dumps({"decoder": decoder, "encoder": encoder}[kind](pathlib.Path(folder))))


if __name__ == "__main__":
    main()
