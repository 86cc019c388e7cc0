#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the SystemVerilog package, the C++ header and the register tables from rtl/ring.toml.

Usage: ring_format.py ROOT [--check]   (--check: compare with what is there, change nothing, exit 1 on a difference)
"""
import pathlib
import re
import sys
import tomllib

NOTE = "Made by tools/ring_format.py from rtl/ring.toml: do not edit."
KINDS = {
    "rw": "read, write",
    "ro": "read only",
    "rw1c": "read, write 1 to clear",
    "counter": "read only; the low half first, it latches the high half",
    "set-up": "read; write only while the queue is disabled and idle",
    "window": "read; write only while the queue is disabled and idle, and not locked",
}
CPP_TYPES = {8: "std::uint8_t", 12: "std::uint32_t", 16: "std::uint16_t", 32: "std::uint32_t", 64: "std::uint64_t"}


def upper(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def system_verilog(ring):
    out = ["// SPDX-License-Identifier: Apache-2.0", f"// {NOTE}", "package sluice_ring_pkg;", ""]
    for name, v in ring["values"].items():
        out.append(f"  localparam logic [{v['width'] - 1}:0] {name} = {v['width']}'h{v['value']:X};")
    for enum in ring["enums"]:
        out += ["", f"  // {enum['doc']}"]
        for name, value, doc in enum["items"]:
            out.append(f"  localparam logic [{enum['width'] - 1}:0] {enum['name']}{name} = {enum['width']}'d{value};  // {doc}")
    for group in ring["registers"]:
        width = 12 if group["name"] == "Reg" else 7
        out += ["", f"  // Registers of {group['doc']}"]
        for name, offset, *_ in group["items"]:
            out.append(f"  localparam logic [{width - 1}:0] {group['name']}{name} = {width}'h{offset:03X};")
    for name in ("descriptor", "completion"):
        out += ["", f"  // The last field lies at byte 0.", "  typedef struct packed {"]
        for field, width, _ in reversed(ring[name]["fields"]):
            out.append(f"    logic [{width - 1}:0] {field};" if width > 1 else f"    logic {field};")
        out.append(f"  }} {name}_t;")
    return "\n".join(out + ["", "endpackage", ""])


def cpp(ring):
    out = ["// SPDX-License-Identifier: Apache-2.0", f"// {NOTE}", "// clang-format off", "#pragma once", "", "#include <array>",
           "#include <cstddef>", "#include <cstdint>", "",
           "/// The wire format between the ring driver and the engine in RTL; docs/RING.md explains it. Little endian.",
           "namespace sluice::inline ring {", ""]
    for name, v in ring["values"].items():
        if v["doc"]:
            out.append(f"/// {v['doc']}")
        suffix = "ULL" if v["width"] == 64 else ""
        out.append(f"inline constexpr {CPP_TYPES[v['width']]} k{name} = 0x{v['value']:X}{suffix};")
    for enum in ring["enums"]:
        out += ["", f"/// {enum['doc']}"]
        for name, value, doc in enum["items"]:
            out.append(f"inline constexpr {CPP_TYPES[enum['width']]} k{enum['name']}{name} = {value};  ///< {doc}")
    for group in ring["registers"]:
        out += ["", f"/// Registers of {group['doc']}"]
        for name, offset, *_ in group["items"]:
            out.append(f"inline constexpr std::uint32_t k{group['name']}{name} = 0x{offset:03X};")
    out += ["", "struct alignas(64) Descriptor {"]
    offset = 0
    checks = []
    for field, width, doc in ring["descriptor"]["fields"]:
        kind = CPP_TYPES.get(width, f"std::array<std::uint64_t, {width // 64}>")
        init = "{}" if width > 64 else " = 0"
        out.append(f"  {kind} {field}{init};  ///< {doc}")
        checks.append(f"static_assert(offsetof(Descriptor, {field}) == {offset});")
        offset += width // 8
    out += ["};", f"static_assert(sizeof(Descriptor) == {ring['descriptor']['bits'] // 8});", *checks]
    out += ["", "/// Two 64-bit words; the second holds the phase bit and is the one to wait for.",
            "struct alignas(16) CompletionEntry {", "  std::uint64_t low = 0;", "  std::uint64_t high = 0;", ""]
    bit = 0
    for field, width, doc in ring["completion"]["fields"]:
        word, shift = ("low", bit) if bit < 64 else ("high", bit - 64)
        bit += width
        if field == "reserved":
            continue
        if doc:
            out.append(f"  /// {doc}")
        if width == 1:
            body, kind = f"return ({word} >> {shift} & 1) != 0;", "bool"
        elif width in CPP_TYPES:
            kind = CPP_TYPES[width]
            body = f"return static_cast<{kind}>({word}{f' >> {shift}' if shift else ''});"
        else:
            kind = "std::uint64_t"
            body = f"return {word}{f' >> {shift}' if shift else ''} & ((1ULL << {width}) - 1);"
        out.append(f"  [[nodiscard]] constexpr {kind} {field}() const {{ {body} }}")
    out += ["};", f"static_assert(sizeof(CompletionEntry) == {ring['completion']['bits'] // 8});"]
    return "\n".join(out + ["", "}  // namespace sluice::inline ring", ""])


def markdown(ring):
    out = ["# Registers and formats", "", f"{NOTE} docs/RING.md says how they are used.", "",
           "Registers are 32 bits wide, addresses 12 bits and multiples of 4; only full words can be written. 64-bit values are",
           "pairs, low half first. A write that is refused answers SLVERR, changes nothing, and shows in ISR and REFUSED. A",
           "counter lags its events by at most 16 * (queues + 1) cycles.", "",
           "- Where these tables have no register, a read gives 0 and a write is refused. That holds for the registers and",
           "  counters of queues that the engine does not have, too. A read always answers OKAY.",
           "- Bits without a meaning read as 0; write them as 0. Setting one is refused in both CTRLs, RING_LOG2, the bases, the",
           "  window, SQ_TAIL, CQ_HEAD and CANCEL_SLOT, and has no effect in all others. Address bits from ADDR_WIDTH on are such",
           "  bits. CANCEL_SLOT reads as 0.", ""]
    for group in ring["registers"]:
        out += [f"## Registers of {group['doc']}", "", "| offset | name | bits | access | |", "|---|---|---|---|---|"]
        for name, offset, width, kind, doc in group["items"]:
            out.append(f"| 0x{offset:03X} | {upper(name)} | {width} | {KINDS[kind]} | {doc} |")
        out.append("")
    for name, title in (("descriptor", "Descriptor"), ("completion", "Completion")):
        fields = ring[name]
        out += [f"## {title}, {fields['bits'] // 8} bytes", "", "| bits | field | |", "|---|---|---|"]
        bit = 0
        for field, width, doc in fields["fields"]:
            out.append(f"| {bit + width - 1}:{bit} | {field} | {doc} |")
            bit += width
        assert bit == fields["bits"], name
        out.append("")
    for enum in ring["enums"]:
        out += [f"## {enum['name']}: {enum['doc']}", "", "| value | name | |", "|---|---|---|"]
        out += [f"| {value} | {name} | {doc} |" for name, value, doc in enum["items"]]
        out.append("")
    return "\n".join(out)


def main():
    root = pathlib.Path(sys.argv[1])
    check = "--check" in sys.argv[2:]
    ring = tomllib.loads((root / "rtl/ring.toml").read_text())
    made = {
        "rtl/sluice_ring_pkg.sv": system_verilog(ring),
        "driver/ring/include/sluice/ring/ring_format.hpp": cpp(ring),
        "docs/rtl/REGISTERS.md": markdown(ring),
    }
    stale = [name for name, text in made.items()
             if not (root / name).exists() or (root / name).read_text() != text]
    if check:
        for name in stale:
            print(f"{name} is not what rtl/ring.toml says: run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(made[name])
        print(f"made {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
