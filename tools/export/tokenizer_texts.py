"""Texts to compare tokenizers on: many languages and scripts, every code point, and what breaks tokenizers. All from
seeded draws and from what lies on the disk (CPython's own documentation, translations of installed programs), so that
nothing is downloaded."""

from __future__ import annotations

import gettext
import pydoc_data.topics
import random
import unicodedata
from pathlib import Path

SENTENCES = """
The quick brown fox jumps over the lazy dog, doesn't it? They're sure we'll see; I'd bet $1,234.56 (±5 %) on it.
It's 7:45 a.m. — the café's façade looks naïve, but Zoë's résumé isn't: she'd co-authored "Über-Tokenizers" in 2019!
Numbers like 3.14159, 1e-9, 0xDEADBEEF and ½ aren't words; neither are foo_bar, __init__.py, or C++20's std::span<T>.
Der Fußgänger überquerte die Straße, obwohl die Ampel auf Rot stand; größere Unglücke blieben zum Glück aus.
Straßenbahnhaltestellenschild und Donaudampfschifffahrtsgesellschaftskapitän sind GROẞE Wörter.
L'été dernier, nous avons mangé des crêpes à la crème brûlée près de l'Hôtel-Dieu ; quelle idée saugrenue !
Où est passé l'œuf ? Peut-être dans le nœud du cœur, là où s'égarent les âmes naïves.
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío; añoraba a su querido cachorro. ¿Verdad? ¡Sí!
O próximo vôo à noite sobre o Atlântico põe freqüentemente o único médico em questão.
Perché non vuoi più così tanta città? È già l'una e mezza, caro Niccolò.
Pchnąć w tę łódź jeża lub ośm skrzyń fig; zażółć gęślą jaźń.
Příliš žluťoučký kůň úpěl ďábelské ódy, když čtvrtý měsíc skončil.
Árvíztűrő tükörfúrógép: a jó hűtőszekrény üzembe helyezése körülményes.
Pijamalı hasta yağız şoföre çabucak güvendi; İstanbul'dan Iğdır'a ILIK bir rüzgâr esti.
Съешь же ещё этих мягких французских булок, да выпей чаю; подъём был лёгок, объявление — нет.
Щастям б'єш жук їх глицю в фон й ґедзь пріч, Україно моя незалежна!
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία· ο Οδυσσέας ἔπλευσεν εἰς Ἰθάκην. Τί λες; ΌΧΙ!
דג סקרן שט בים מאוכזב ולפתע מצא חברה; שָׁלוֹם עֲלֵיכֶם, אמר הרב "יוסף".
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر؛ السَّلامُ عَلَيْكُمْ، كَيْفَ حالُكَ؟ ١٢٣٤
یک روز خوب می‌آید که ما همدیگر را می‌بینیم؛ کتاب‌ها را بردار.
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश किया। यह १२३ रुपये का है।
আমি বাংলায় গান গাই, আমি আমার আমিকে চিরদিন এই বাংলায় খুঁজে পাই।
யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்.
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน จงฝ่าฟันพัฒนาวิชาการ
Con cáo nâu nhanh nhẹn nhảy qua con chó lười; tiếng Việt thật đẹp và phức tạp, phải không?
我能吞下玻璃而不伤身体。中国有14亿人口，GDP增长了5.2%（2023年）！「你好，世界」
いろはにほへと ちりぬるを。カタカナとひらがな、漢字も混ぜて使います！ﾊﾝｶｸも１２３も。
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 한국어 띄어쓰기는 어렵다!
ქართული ენა უძველესია; შენ ხარ ვენახი ახლად აყვავებული.
Հայերենը հնդեվրոպական լեզու է․ բարև ձեզ։
ሰማይ አይታረስ ንጉሥ አይከሰስ። ብላ ካለኝ እንደአባቴ በቆመጠኝ።
བོད་ཡིག་ནི་བོད་ཀྱི་སྐད་ཡིག་ཡིན།
ភាសាខ្មែរគឺជាភាសាផ្លូវការរបស់ប្រទេសកម្ពុជា។
မြန်မာဘာသာစကားသည် တရားဝင်ဘာသာစကားဖြစ်သည်။
""".strip().splitlines()

EMOJI = [
    "👍🏽 👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☺️ ☺︎ 1️⃣ #️⃣ 🫠🩷",
    "mixed🎉in🎉words 😀😃😄😁 ❤️‍🔥 👁️‍🗨️ 🧑🏿‍🤝‍🧑🏻",
]

BLANKS = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
SPECIAL = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "<|endoftext|>", "<s>", "</s>", "<mask>", "<pad>", "<word>", "Straße"]


def all_characters() -> list[str]:
    return [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def every_character() -> list[str]:
    """Each once, in order, next to its neighbours; and those that have a name, one by one between spaces and letters."""
    everything = all_characters()
    lines = ["".join(everything[i : i + 400]) for i in range(0, len(everything), 400)]
    named = [each for each in everything if unicodedata.category(each) not in ("Cn", "Co")]
    lines += [" ".join(named[i : i + 300]) for i in range(0, len(named), 300)]
    lines += ["".join(f"a{each}" for each in named[i : i + 300]) for i in range(0, len(named), 300)]
    return lines


def documentation() -> list[str]:
    return [line for text in pydoc_data.topics.topics.values() for line in text.splitlines() if line.strip()]


def translations(draw: random.Random, count: int) -> list[str]:
    """Of installed programs: whatever languages there are."""
    files = sorted(Path("/usr/share").rglob("LC_MESSAGES/*.mo"))
    draw.shuffle(files)
    lines: list[str] = []
    for file in files[:400]:
        try:
            with file.open("rb") as stream:
                catalogue = gettext.GNUTranslations(stream)._catalog
        except Exception:  # whatever other programs installed
            continue
        values = sorted(text for text in catalogue.values() if isinstance(text, str) and len(text) > 3)
        lines += draw.sample(values, min(len(values), 20))
        if len(lines) >= count:
            break
    return lines[:count]


def scripts() -> dict[str, list[str]]:
    """Characters by the first word of their names: LATIN, CYRILLIC, HANGUL, ..."""
    found: dict[str, list[str]] = {}
    for each in all_characters():
        if name := unicodedata.name(each, ""):
            found.setdefault(name.split()[0].split("-")[0], []).append(each)
    return {name: characters for name, characters in found.items() if len(characters) >= 10}


def random_words(draw: random.Random, characters: list[str], count: int) -> str:
    words = ["".join(draw.choices(characters, k=draw.randint(1, 9))) for _ in range(count)]
    return "".join(word + draw.choice([" ", " ", " ", "  ", ", ", ".", "-", "\u00a0", "'s "]) for word in words)


def random_lines(draw: random.Random, count: int) -> list[str]:
    by_script = scripts()
    names = sorted(by_script)
    everything = all_characters()
    lines = []
    for i in range(count):
        if i % 4 == 3:  # anything at all
            lines.append("".join(draw.choices(everything, k=draw.randint(1, 40))))
            continue
        pool = by_script[names[i % len(names)]]
        if i % 4 == 2:
            pool = pool + by_script[draw.choice(names)] + ["A", "b", "9", "É"]
        lines.append(random_words(draw, pool, draw.randint(1, 8)))
    return lines


def piled_marks(draw: random.Random, count: int) -> list[str]:
    """Combining characters in any order, also those that are no Mn, with what cleaning removes between them."""
    marks = [each for each in all_characters() if unicodedata.category(each).startswith("M")]
    spacing = [each for each in marks if unicodedata.category(each) == "Mc" and unicodedata.combining(each)]
    composed = [each for each in all_characters() if unicodedata.decomposition(each)]
    between = ["\u200d", "\u034f", "\x00", "\ufffd", "\u0f73", "\U0001d15e", "\u00ad"]
    lines = []
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 6)):
            parts.append(draw.choice(["a", "E", "가", "é", "中", draw.choice(composed), " "]))
            for _ in range(draw.randint(0, 6)):
                parts.append(draw.choice(draw.choice([marks, marks, spacing, between])))
        lines.append("".join(parts))
    return lines


def spaces_and_quotes(draw: random.Random, count: int) -> list[str]:
    """What the regular expression of byte-level tokenizers turns on."""
    pool = [*BLANKS, " ", " ", "'", "'s", "'LL", "'re", "'ve", "'d", "’s", "a", "B", "1", "½", "!", "é", "中", "ß", "٣", "_", "\u0301"]
    return ["".join(draw.choices(pool, k=draw.randint(1, 14))) for _ in range(count)]


def special_inside(draw: random.Random, count: int) -> list[str]:
    pool = [*SPECIAL, *SPECIAL, " ", "  ", "\t", "\u3000", "a", "_", "1", ".", "é", "\u0301", "\u200d", "word", "<", "["]
    return ["".join(draw.choices(pool, k=draw.randint(1, 9))) for _ in range(count)]


def hostile(draw: random.Random) -> list[str]:
    lines = ["", " ", "   ", "\n", BLANKS, "\x00", "a\x00b", "\ufffd", "\ufffe\uffff", "\x7f\x80\x9f", "\u202e\u202dabc\u202c", "\ufeffbom"]
    lines += ["x" * size for size in (99, 100, 101, 1000)] + ["é" * size for size in (99, 100, 101)] + ["中" * 101]
    lines += ["ab" * 50_000, "é" * 30_000, "a\u0301" * 5_000, "\u0301" * 3_000, "!" * 2_000, " " * 5_000, "\u3000" * 2_000]
    lines += ["é" + "".join(draw.choices("\u0301\u0323\u0f73\u0344\u3099\u302e\u0334\U0001e944\u08ca", k=200)) for _ in range(20)]
    lines += ["a" + "\u0302\u0323\U0001d165\u302e" * 200, "가" * 3_000, "각ᆨ" * 200, "[SEP]" * 500, "[SEP" * 500, "<|endoftext|" * 100]
    lines += ["ﬁﬂﬃ ① Ⅻ ㎏ ﾊﾞ ｶﾞ ẛ̣ İI ıi ΣΑΣ ǅ ŉ ΐ", "\u1100\u1161\u11a8 \u1100\u1161 \uac00\u11a8", "\u0344\u0345 \u0f73\u0f75 \u0958 \u2126 \u212b"]
    return lines


def texts() -> list[str]:
    draw = random.Random(20240229)
    documented = documentation()
    lines = hostile(draw) + SENTENCES + EMOJI + every_character()
    lines += draw.sample(documented, 3_000) + translations(draw, 3_000)
    lines += random_lines(draw, 2_500) + piled_marks(draw, 1_000)
    lines += spaces_and_quotes(draw, 1_000) + special_inside(draw, 1_000)
    lines += ["\n".join(SENTENCES), "\n".join(documented[:2_000])]
    return lines


def training_texts() -> list[str]:
    return documentation() + translations(random.Random(1), 6_000) + 20 * SENTENCES + EMOJI
