// SPDX-License-Identifier: Apache-2.0
// Lines over time, as a picture and as a table.
import {element, svg, table} from "./dom.js";

const HEIGHT = 190, LEFT = 78, RIGHT = 110, TOP = 14, BOTTOM = 24;
const DASHES = ["", "7 4", "2 3"];
const MOST_ROWS = 12;
const NARROW = 480;  // Below, the two times would not fit side by side under the lines alone.

const isValue = (value) => value !== null && Number.isFinite(value);

/// Where the axis ends: the next round number from `value` on, in powers of `base`, 1024 or 10.
function roof(value, base) {
  if (value <= 0) return 1;
  const steps = base === 10 ? [1, 2, 5, 10] : Array.from({length: 11}, (_, power) => 2 ** power);
  const unit = base ** Math.floor(Math.log(value) / Math.log(base));
  return unit * (steps.find((step) => unit * step >= value) ?? base);
}

/// A figure, with a table that stays open and keeps the focus when it is drawn again.
export function emptyChart(title) {
  const place = element("div", {class: "scrolls", tabindex: "0", role: "region", "aria-label": title});
  return element("figure", {}, element("figcaption", {}, title), svg("svg"), element("details", {}, element("summary", {}, "As a table"), place));
}

/// {title, times (ms), lines: [{name (of its colour), label, values}], base (of round numbers), format, clock}, in a figure of
/// emptyChart() that is on the page.
export function draw(figure, {title, times, lines, base, format, clock}) {
  const caption = times.length < 2 ? `${title}: there are no two samples yet` : title;
  if (figure.firstElementChild.textContent !== caption) figure.firstElementChild.textContent = caption;
  figure.classList.toggle("empty", times.length < 2);
  if (times.length < 2) return;
  const width = Math.max(300, figure.clientWidth);
  const from = times[0], until = times[times.length - 1];
  const top = roof(Math.max(0, ...lines.flatMap((line) => line.values).filter(isValue)), base);
  const x = (time) => LEFT + (width - LEFT - RIGHT) * (time - from) / (until - from);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top;
  const picture = svg("svg", {viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true"});
  for (const share of [0, .5, 1]) {
    picture.append(svg("line", {class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(share * top), y2: y(share * top)}),
      svg("text", {x: LEFT - 8, y: y(share * top) + 4, "text-anchor": "end"}, format(share * top)));
  }
  picture.append(svg("text", {x: LEFT, y: HEIGHT - 6}, clock(from)), svg("text", {class: "until", x: width < NARROW ? width : width - RIGHT, y: HEIGHT - 6, "text-anchor": "end"}, clock(until)));
  const ends = [];
  lines.forEach((line, at) => {
    // Where a value is missing, the line is broken.
    const points = line.values.map((value, index) => isValue(value)
      ? `${index > 0 && isValue(line.values[index - 1]) ? "L" : "M"}${x(times[index]).toFixed(1)},${y(value).toFixed(1)}h0` : "").join("");
    picture.append(svg("path", {class: `curve s-${line.name}`, d: points, "stroke-dasharray": DASHES[at % DASHES.length]}));
    const last = line.values.filter(isValue).at(-1);
    if (last === undefined) return;
    let height = y(last) + 4;
    while (ends.some((other) => Math.abs(other - height) < 13)) height -= 13;
    ends.push(height);
    picture.append(svg("text", {x: width - RIGHT + 6, y: height}, line.label ?? line.name));
  });
  figure.querySelector("svg").replaceWith(picture);
  const stride = Math.ceil(times.length / MOST_ROWS);
  const rows = times.map((time, at) => ({time, at})).filter(({at}) => (times.length - 1 - at) % stride === 0);
  table(figure.querySelector(".scrolls"), title, [["time", ({time}) => clock(time)], ...lines.map((line) => [line.label ?? line.name, ({at}) => format(line.values[at]), true])],
    rows, ({time}) => time);
}
