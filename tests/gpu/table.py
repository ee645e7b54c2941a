#!/usr/bin/env python3
"""table.py MEASURED.jsonl: what measure.py wrote, as a Markdown table with the differences."""

import json, sys

MIB = 1 << 20


def main(path):
    rows = sorted((json.loads(line) for line in open(path)), key=lambda row: (row["model"], row["context"], row["cache_type"]))
    print("All in MiB. Buffers: what llama-server logged for CUDA0. Off: predicted less logged. Beside: the process's memory by NVML less the buffers.\n")
    print("| model | context | cache | buffers | predicted | off | beside: loaded | prompt | 1,000 tokens | overhead promised |")
    print("|---|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    worst = 0.0
    for row in rows:
        logged = row["buffers_mib"].get("CUDA0", {})
        buffers = sum(logged.get(part, 0) for part in ("model", "context", "compute"))
        predicted = (row.get("predicted") or {}).get("CUDA0")
        total = sum(predicted[part] for part in ("model", "context", "compute")) / MIB if predicted else None
        off = "" if total is None else f"{total - buffers:+.2f}"
        worst = max(worst, abs(total - buffers)) if total is not None else worst
        beside = [f"{row[key] / MIB - buffers:.0f}" if row.get(key) else "?" for key in ("process_after_load", "process_after_prompt", "process_after_generation")]
        overhead = f"{predicted['overhead'] / MIB:.0f}" if predicted and predicted.get("overhead") else ""
        total = "" if total is None else f"{total:,.2f}"
        print(f"| {row['model'].removesuffix('.gguf')} | {row['context']:,} | {row['cache_type']} | {buffers:,.2f} | {total} | {off} | {' | '.join(beside)} | {overhead} |")
    print(f"\n{len(rows)} configurations; the largest difference between predicted and logged buffers is {worst:.2f} MiB.")


if __name__ == "__main__":
    main(sys.argv[1])
