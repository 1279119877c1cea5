"""Archives that would run code, or write files, if whoever reads them unpickled or unpacked them."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

from running_mesh import FIXTURES


class _Touch:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.file}'",)


def pickle_that_touches(file: Path, protocol: int = 2) -> bytes:
    return pickle.dumps(_Touch(file), protocol)


def torch_file_that_touches(file: Path) -> bytes:
    """As torch.save writes it: an archive with a pickle in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle_that_touches(file))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return made.getvalue()


Records = dict[str, bytes]


def records_of(model: Path) -> Records:
    with zipfile.ZipFile(model) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_archive(records: Records, to: Path) -> None:
    with zipfile.ZipFile(to, "w") as archive:  # stored, not compressed, as PyTorch does
        for name, content in records.items():
            archive.writestr(name, content)


def _with_pickled(kind: str) -> Callable[[Records, Path], None]:
    """The first of the `weights` or `constants` as a pickle."""

    def change(records: Records, marker: Path) -> None:
        name = f"model/data/{kind}/model_{kind}_config.json"
        config = json.loads(records[name])
        first = next(iter(config["config"].values()))
        first["use_pickle"] = True
        records[f"model/data/{kind}/{first['path_name']}"] = pickle_that_touches(marker)
        records[name] = json.dumps(config).encode()

    return change


def _with_custom_object(records: Records, marker: Path) -> None:
    name = "model/data/constants/model_constants_config.json"
    config = json.loads(records[name])
    first = next(iter(config["config"].values()))
    first |= {"path_name": "custom_obj_0", "use_pickle": True}
    records["model/data/constants/custom_obj_0"] = torch_file_that_touches(marker)
    records[name] = json.dumps(config).encode()


def _with_pickled_samples(records: Records, marker: Path) -> None:
    records["model/data/sample_inputs/model.pt"] = torch_file_that_touches(marker)


def _with_bare_pickled_samples(records: Records, marker: Path) -> None:
    records["model/data/sample_inputs/model.pt"] = pickle_that_touches(marker)


def _with_pickles_everywhere_else(records: Records, marker: Path) -> None:
    for name in ("model/data.pkl", "model/constants.pkl", "model/extra/hook.pkl", "model/code/__init__.py"):
        records[name] = pickle_that_touches(marker)


def _with_pickles_at_the_root(records: Records, marker: Path) -> None:
    for name in ("data.pkl", "constants.pkl"):
        records[name] = pickle_that_touches(marker)


def _with_ways_out(records: Records, marker: Path) -> None:
    for name in (str(marker), f"../../../../../../../../..{marker}", f"model/{'../' * 12}{str(marker)[1:]}"):
        records[name] = b"written by unpacking"


# What can be served all the same, since the evil part is never read, and what is refused.
HARMLESS: dict[str, Callable[[Records, Path], None]] = {
    "samples": _with_pickled_samples,
    "bare_samples": _with_bare_pickled_samples,
    "elsewhere": _with_pickles_everywhere_else,
}
REFUSED: dict[str, Callable[[Records, Path], None]] = {
    "weight": _with_pickled("weights"),
    "constant": _with_pickled("constants"),
    "custom_object": _with_custom_object,
    "root": _with_pickles_at_the_root,
    "ways_out": _with_ways_out,
}


def write_evil_models(folder: Path, marker: Path) -> dict[str, Path]:
    """Model folders NAME/1/model.pt2 in `folder`; whoever is fooled makes the file `marker`."""
    made = {}
    for name, change in (HARMLESS | REFUSED).items():
        records = records_of(FIXTURES / "graphs" / "constants" / "1" / "model.pt2")
        change(records, marker)
        file = folder / name / "1" / "model.pt2"
        file.parent.mkdir(parents=True)
        write_archive(records, file)
        made[name] = file.parents[1]
    for name, content in (("pickle", pickle_that_touches(marker)), ("torch_save", torch_file_that_touches(marker))):
        file = folder / name / "1" / "model.pt2"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        made[name] = file.parents[1]
    return made
