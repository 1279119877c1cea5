"""Puts the tables of what build/bench holds between the markers in bench/README.md; tables of benches that were not run
stay as they are, each with the day and the load of its own run."""

import datetime
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench/peers"))

from table import tables as tables_of_peers  # noqa: E402

BEGIN, END = "<!-- figures: begin (written by bench/write_readme.py) -->\n", "<!-- figures: end -->"


def overhead(result: dict) -> str:
    text = f"### bench_overhead ({result['rounds']} rounds)\n\n| ratio | median | min | max | limit | |\n|---|---|---|---|---|---|\n"
    for name, ratio in result["ratios"].items():
        state = "met" if ratio["met"] else "**missed**"
        text += f"| {name} | {ratio['median']:.2f} | {ratio['min']:.2f} | {ratio['max']:.2f} | {ratio['limit']} | {state} |\n"
    text += "\n| figure | median | min | max |\n|---|---|---|---|\n"
    for name, figure in result["figures"].items():
        text += f"| {name} | {figure['median']:.4g} | {figure['min']:.4g} | {figure['max']:.4g} |\n"
    return text


def executor(result: dict) -> str:
    text = (
        f"### bench_executor ({result['conditions']['threads']} thread)\n\n"
        "| model and shape | eager ms | executor ms | ratio (95% bounds) | | passes off: ratio (95% bounds) |\n"
        "|---|---|---|---|---|---|\n"
    )
    bounds = lambda cell: f"{cell['ratio']:.3f} ({cell['ratio_95'][0]:.3f} to {cell['ratio_95'][1]:.3f})"  # noqa: E731
    for name, row in result["rows"].items():
        on, off = row["all"], row["none"]
        text += (
            f"| {name} | {on['eager_us'] / 1000:.2f} | {on['executor_us'] / 1000:.2f} | {bounds(on)} "
            f"| {'reached' if row['reached'] else '**missed**'} | {bounds(off)} |\n"
        )
    if ablation := result["ablation"]:
        passes = list(next(iter(ablation.values())))
        text += "\nTime without one pass, relative to all passes (a figure above 1 is what the pass brings):\n\n"
        text += f"| without | {' | '.join(ablation)} |\n|---{'|---' * len(ablation)}|\n"
        for each in passes:
            text += f"| {each} | {' | '.join(bounds(row[each]) for row in ablation.values())} |\n"
    text += "\n| target | value | limit | |\n|---|---|---|---|\n"
    for name, target in result["targets"].items():
        met = "reached" if target["met"] == "reached" else "**missed**"
        text += f"| {name} | {target['value']:.3f} | {target['limit']:g} | {met} |\n"
    return text + f"\nCost per node, kernel included: {result['node_us']:.2f} us (eager {result['node_eager_us']:.2f} us).\n"


def precision(result: dict) -> str:
    text = "### bench_precision (plans of shoal tune, eager PyTorch in fp32 = 1)\n\n"
    text += "| model and shape | threads | | ms | times as fast (95% bounds) | cosine | error |\n|---|---|---|---|---|---|---|\n"
    for name, threads in result["rows"].items():
        for count, cells in threads.items():
            for what, cell in cells.items():
                low, high = cell["faster_95"]
                text += f"| {name} | {count} | {what} | {cell['us'] / 1000:.2f} | {cell['faster']:.2f} ({low:.2f} to {high:.2f}) "
                text += f"| {cell['cosine']:.5f} | {cell['error']:.2%} |\n"
    text += "\n| plan (model, threads) | planned in s | |\n|---|---|---|\n"
    for name, plan in result["plans"].items():
        said = plan["verdict"]
        if top1 := plan.get("top1"):
            low, high = top1["loss_95"]
            said += f"; loses {top1['loss']:.2f} of {top1['top1_eager']:.1f} points of top-1 (paired, 95%: {low:.2f} to {high:.2f})"
        text += f"| {name} | {plan['planning_s']:.0f} | {said} |\n"
    return text + "\n" + targets(result)


def accuracy(result: dict) -> str:
    text = f"### bench_accuracy (STS-B, {result['conditions']['pairs']} pairs)\n\n"
    text += "| | Spearman x 100 | loss (95% bounds) | mean cosine | least |\n|---|---|---|---|---|\n"
    for name, row in result["rows"].items():
        loss = f"{row['loss']:.3f} ({row['loss_95'][0]:.3f} to {row['loss_95'][1]:.3f})" if "loss" in row else ""
        text += f"| {name} | {row['spearman']:.2f} | {loss} | {row['mean_cosine']:.5f} | {row['least_cosine']:.4f} |\n"
    return text + "\n" + targets(result)


def planning(result: dict) -> str:
    conditions = result["conditions"]
    text = "### bench_planning (MiniLM served in fp32 while its plan is made)\n\n"
    text += f"{conditions['rate']:.0f} requests/s, {conditions['share']:.0%} of the closed loop; {conditions['rounds']} rounds of "
    text += f"{conditions['seconds']:g} s each, by turns.\n\n| | p50 (ms) | p99 (ms), each round | median |\n|---|---|---|---|\n"
    for name, middle in result["medians"].items():
        each = ", ".join(f"{run['p99_ms']:.1f}" for run in result["rows"][name])
        text += f"| {name} | {middle['p50_ms']:.2f} | {each} | {middle['p99_ms']:.1f} |\n"
    return text + "\n" + targets(result)


def targets(result: dict) -> str:
    text = "| target | value | limit | |\n|---|---|---|---|\n"
    for name, target in result["targets"].items():
        text += f"| {name} | {target['value']:.4g} | {target['limit']:g} | {'met' if target['met'] else '**missed**'} |\n"
    return text


def cache(result: dict) -> str:
    mib, plain, shared = 2**20, result["mmap"], result["cache"]
    middle = lambda values: sorted(values)[len(values) // 2]  # noqa: E731
    rows = (
        ("first load, ms", plain["load_ms"][0], result["first_load_ms"]),
        ("second worker's load, ms", middle(plain["load_ms"][1:]), middle(result["second_load_ms"])),
        ("PSS of weights, one worker, MiB", plain["pss_one"] / mib, shared["pss_one"] / mib),
        ("PSS of weights, four workers, MiB", plain["pss_four"] / mib, shared["pss_four"] / mib),
        ("private memory, one worker, MiB", plain["private_one"] / mib, shared["private_one"] / mib),
        ("private memory, four workers, MiB", sum(plain["private_four"]) / mib, sum(shared["private_four"]) / mib),
    )
    text = f"### bench_cache ({result['conditions']['model']})\n\n| | mmap of the archive | cache |\n|---|---|---|\n"
    text += "".join(f"| {name} | {a:.1f} | {b:.1f} |\n" for name, a, b in rows)
    return text + "\n" + targets(result) + (
        f"\nImport {middle(result['import_mb_s']):.0f} MB/s, the disk's own {middle(result['disk_mb_s']):.0f} MB/s "
        f"(alternating; ratio {result['import_over_disk']:.2f}).\n"
    )


def life(result: dict) -> str:
    limit = result["limit_percent"]
    rows = [
        (f"{result['rounds']} rounds of load and unload, unloaded", result["unloaded"]),
        ("the same, loaded again", result["loaded"]),
    ]
    rows += [
        (f"{name}: {result['shapes']} random shapes, since a tenth of them", {**each, "growth_percent": each["growth_percent_since_a_tenth"]})
        for name, each in result["random_shapes"].items()
    ]
    text = f"### bench_life (a worker's resident memory; limit +{limit}%)\n\n| | MiB at the end | growth | |\n|---|---|---|---|\n"
    for name, each in rows:
        state = "met" if each["growth_percent"] <= limit else "**missed**"
        text += f"| {name} | {each['mib']:.1f} | {each['growth_percent']:+.2f}% | {state} |\n"
    return text


def death(result: dict) -> str:
    text = "### bench_death (seconds without an answer)\n\n| | median | min | max | slowest request | failed | limit of the max | |\n|---|---|---|---|---|---|---|---|\n"
    for name, row in result["gaps"].items():
        state = "met" if row["met"] else "**missed**"
        text += f"| {name} | {row['median']:.3f} | {row['min']:.3f} | {row['max']:.3f} | {row.get('slowest_request', row['max']):.3f} | {row.get('failed', 0)} | {row['limit']:g} | {state} |\n"
    return text


def sdk(result: dict) -> str:
    text = "### bench_sdk (the C++ SDK and the client it is built on)\n\n| figure | median | min | max |\n|---|---|---|---|\n"
    for name, figure in result["figures"].items():
        text += f"| {name} | {figure['median']:.4g} | {figure['min']:.4g} | {figure['max']:.4g} |\n"
    return text


def scheduler(result: dict) -> str:
    text = "### bench_scheduler (one core)\n\n| figure | median | min | max | limit | |\n|---|---|---|---|---|---|\n"
    for name, figure in result["figures"].items():
        limit = figure.get("limit")
        state = "" if limit is None else "met" if figure["met"] else "**missed**"
        text += f"| {name} | {figure['median']:.4g} | {figure['min']:.4g} | {figure['max']:.4g} | {limit or ''} | {state} |\n"
    return text


def serving(result: dict) -> str:
    text = "### bench_serving (MiniLM fp32, 2 workers of 1 thread, client on the same cores)\n\n"
    text += "| mix | tokens per request | highest rate with p99 < 200 ms | p50 / p99 at half of it | p50 / p99 at 80% | closed loop, 32 clients | tokens/s |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for name, mix in result["mixes"].items():
        half, most = mix["at_half"], mix["at_four_fifths"]
        text += f"| {name} | {mix['tokens_per_request']:.1f} | {mix['highest_per_s']:.0f}/s | {half['p50_ms']:.1f} / {half['p99_ms']:.1f} ms "
        text += f"| {most['p50_ms']:.1f} / {most['p99_ms']:.1f} ms | {mix['closed_per_s']:.0f}/s | {mix['closed_tokens_per_s']:.0f} |\n"
    text += "\n| mix at 3 x the closed loop's rate, deadline 500 ms | answered in time | of the peak | refused | refused after (p99) | late | other failures | without an outcome |\n"
    text += "|---|---|---|---|---|---|---|---|\n"
    for name, mix in result["mixes"].items():
        over = mix["overload"]
        text += f"| {name}, {over['offered_per_s']:.0f}/s | {over['good_per_s']:.0f}/s | {over['good_of_peak']:.2f} | {over['refused']} "
        text += f"| {over['refused_p99_ms']:.2f} ms | {over['late']} | {over['other_failures']} | {over['without_outcome']} |\n"
    return text


def decoder(result: dict) -> str:
    text = (
        f"### bench_decoder ({result['parameters'] / 1e6:.0f} million parameters, one token at a time)\n\n"
        "| plan | threads | ms a token (quartiles) | eager fp32, ms | times as fast (95% bounds) |\n|---|---|---|---|---|\n"
    )
    for name, row in result["rows"].items():
        for threads, cell in row.items():
            low, high = cell["quartiles_us"]
            text += (
                f"| {name} | {threads} | {cell['us'] / 1000:.2f} ({low / 1000:.2f} to {high / 1000:.2f}) "
                f"| {cell['eager_us'] / 1000:.2f} "
                f"| {cell['faster']:.2f} ({cell['faster_95'][0]:.2f} to {cell['faster_95'][1]:.2f}) |\n"
            )
    text += f"\n| {result['bytes']} bytes held back | perplexity | change (95% bounds) |\n|---|---|---|\n"
    for name, figure in result["perplexity"].items():
        change = "" if name == "eager" else f"{figure['change']:+.3%} ({figure['change_95'][0]:+.3%} to {figure['change_95'][1]:+.3%})"
        text += f"| {name} | {figure['perplexity']:.4f} | {change} |\n"
    text += "\n| target | value | limit | |\n|---|---|---|---|\n"
    for name, target in result["targets"].items():
        text += f"| {name} | {target['value']:.4f} | {target['limit']:g} | {'met' if target['met'] else '**missed**'} |\n"
    return text


def text(result: dict) -> str:
    made = f"### bench_text (text to ids, one core, against tokenizers {result['conditions']['tokenizers']})\n\n"
    made += "| tokenizer and text | MB/s (spread) | library (spread) | times as fast |\n|---|---|---|---|\n"
    for name, row in result["rows"].items():
        low, high = row["mb_per_s_spread"]
        slow, fast = row["library_mb_per_s_spread"]
        made += f"| {name} | {row['mb_per_s']:.0f} ({low:.0f} to {high:.0f}) | {row['library_mb_per_s']:.2f} ({slow:.2f} to {fast:.2f}) | {row['ratio']:.0f} |\n"
    return made + "\n" + targets(result)


def text_serving(result: dict) -> str:
    door, embed = result["door"], result["embed"]
    made = "### bench_text_serving (MiniLM in fp32)\n\n8 texts of 64 tokens, one connection:\n\n| | p50 (ms) | text over it (95% bounds) |\n|---|---|---|\n"
    made += f"| text at `/v1/embeddings` | {door['text']['p50_us'] / 1e3:.2f} | |\n"
    for name in ("token_ids", "infer"):
        low, high = door["text"][f"over_{name}_95"]
        made += f"| {'token ids there' if name == 'token_ids' else 'binary tensors at /v2'} | {door[name]['p50_us'] / 1e3:.2f} "
        made += f"| {door['text'][f'over_{name}']:+.2%} ({low:+.2%} to {high:+.2%}) |\n"
    ours, alone = (" ".join(f"{each:.0f}" for each in embed[key]) for key in ("lines_per_s", "executor_per_s"))
    made += f"\n`shoal embed` of {embed['lines']} lines: {ours} lines/s; {result['conditions']['processes']} processes that only run the model: {alone}.\n"
    return made + "\n" + targets(result)


def access(result: dict) -> str:
    made = "### bench_access (an identity, and MiniLM; gateway, scheduler and worker apart, over tcp)\n\n| an identity's bytes each way, or a model | in the clear, p50 (us) | CURVE, p50 (us) | cost (95% bounds) |\n|---|---|---|---|\n"
    for size, row in result["sizes"].items():
        low, high = row["cost_95"]
        made += f"| {size} | {row['clear_p50_us']:.0f} | {row['curve_p50_us']:.0f} | {row['cost']:+.0%} ({low:+.0%} to {high:+.0%}) |\n"
    return made + "\n" + targets(result)


def peers(result: dict) -> str:
    return f"### bench_peers (MiniLM fp32 and an identity, the same load for all)\n\n{tables_of_peers(result)}"


TABLES = {
    "bench_scheduler": scheduler,
    "bench_serving": serving,
    "bench_peers": peers,
    "bench_overhead": overhead,
    "bench_sdk": sdk,
    "bench_death": death,
    "bench_executor": executor,
    "bench_precision": precision,
    "bench_planning": planning,
    "bench_text": text,
    "bench_text_serving": text_serving,
    "bench_access": access,
    "bench_accuracy": accuracy,
    "bench_decoder": decoder,
    "bench_cache": cache,
    "bench_life": life,
}
SAY_THEMSELVES = {"bench_peers"}  # when and how they were measured, part by part


def sections(text: str) -> dict[str, str]:
    """The tables that are there, by the first word of their headings."""
    return {each.split()[0]: "### " + each.rstrip() + "\n" for each in text.split("### ")[1:]}


def main() -> None:
    readme = ROOT / "bench/README.md"
    head, rest = readme.read_text().split(BEGIN)
    present, tail = rest.split(END)
    parts = sections(present)
    when = "Measured on {} with {} cores; load average {:.1f}.\n"
    for name, table in TABLES.items():
        file = ROOT / "build/bench" / f"{name}.json"
        if file.exists():
            day = datetime.date.fromtimestamp(file.stat().st_mtime)
            text = table(json.loads(file.read_text())).split("\n", 1)
            said = "" if name in SAY_THEMSELVES else "\n" + when.format(day, os.cpu_count(), os.getloadavg()[1])
            parts[name] = text[0] + "\n" + said + text[1]
    ordered = [parts[name] for name in TABLES if name in parts]
    readme.write_text(head + BEGIN + "\n" + "\n".join(ordered) + "\n" + END + tail)


if __name__ == "__main__":
    main()
