#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# page_test.sh PROGRAM CHROMIUM: the page of `sluice bench` in a browser without a screen, light and dark. It draws itself,
# every chart has a mark for every figure, and nothing reports an error. With PAGE_SHOTS=FOLDER the pictures stay there.
set -eu
program=$1
chromium=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$program" bench --smoke --json "$folder/a.json" --report "$folder/page.html" >"$folder/out.txt" 2>&1 || {
  cat "$folder/out.txt"
  exit 1
}
browse() {
  timeout 100 "$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$folder/profile" \
    --enable-logging=stderr --virtual-time-budget=5000 "$@" "file://$folder/page.html" 2>>"$folder/log.txt"
}
browse --dump-dom >"$folder/dom.html"
browse --window-size=1000,2600 --screenshot="$folder/light.png" >/dev/null
browse --window-size=1000,2600 --blink-settings=preferredColorScheme=0 --screenshot="$folder/dark.png" >/dev/null
browse --print-to-pdf="$folder/page.pdf" >/dev/null
fail() {
  echo "page_test: $1"
  exit 1
}
if grep -F 'CONSOLE' "$folder/log.txt"; then fail "the browser's console has errors"; fi
charts=$(grep -o '"section":' "$folder/a.json" | wc -l)
grep -q "data-ready=\"$charts\"" "$folder/dom.html" || fail "the page did not come to its end"
python3 - "$folder/dom.html" "$charts" <<'PYTHON'
import re, sys
dom = open(sys.argv[1], encoding="utf-8").read()
sections = re.findall(r'<section data-chart="(\w+)"([^>]*)>', dom)
assert len(sections) == int(sys.argv[2]), f"{len(sections)} charts drawn, {sys.argv[2]} measured"
for name, attributes in sections:
    values = dict(re.findall(r'data-(\w+)="(\d+)"', attributes))
    figures, drawn = int(values.get("figures", 0)), int(values.get("drawn", 0)) + int(values.get("lines", 0))
    assert figures > 0, f"chart {name} has no data"
    assert drawn > 0, f"chart {name} has {figures} figures and draws none"
    assert int(values["drawn"]) in (0, figures) or name == "offload", f"chart {name} draws {values['drawn']} of {figures}"
for swatches in re.findall(r'<div class="swatches">.*?</div>', dom):
    colors = re.findall(r"--color: (#\w+)", swatches)
    assert colors and len(set(colors)) == len(colors), f"two series of one colour: {swatches}"
assert "NaN" not in re.sub(r"<script.*?</script>", "", dom, flags=re.S), "a figure is not a number"
print(f"{len(sections)} charts, each with its data")
PYTHON
for picture in light.png dark.png page.pdf; do
  [ "$(stat -c %s "$folder/$picture")" -gt 20000 ] || fail "$picture is empty"
done
cmp -s "$folder/light.png" "$folder/dark.png" && fail "dark looks like light"
[ -z "${PAGE_SHOTS:-}" ] || cp "$folder"/*.png "$folder/page.pdf" "$folder/page.html" "$PAGE_SHOTS"
