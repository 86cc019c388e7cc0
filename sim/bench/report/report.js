// SPDX-License-Identifier: Apache-2.0
// Draws the results of `sluice bench` that stand in the page.
import * as Plot from "@observablehq/plot";

const SECTIONS = {
  micro: "Engines and their peers, job by job",
  cancel: "Stopping a job",
  grant: "Giving memory to a VM",
  trace: "What recycling saves",
  offload: "From what size an engine is worth it",
  vm: "Real guests",
};
// For light and for dark ground.
const COLORS = ["#3b7dd8", "#d9730d", "#2a9d6f", "#b3439c", "#8a6d00", "#d64545", "#5a5fcf", "#0f8ea3", "#7a8694", "#9c5a2c",
  "#5f9e1f", "#c0699b", "#2fb5b0", "#e08a7a", "#a3a02a", "#a58ad8"];

const results = JSON.parse(document.getElementById("results").textContent);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Three digits that mean something. */
function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1000 || (size >= 100 && Number.isInteger(value))) return value.toFixed(0);
  return value.toFixed(Math.min(Math.max(2 - Math.floor(Math.log10(size)), 0), 9));
}

/** One series has one colour in all charts, where no other of the same chart has it already. */
const preferred = new Map();
function colors_of(names) {
  const taken = new Set();
  return names.map((name) => {
    if (!preferred.has(name)) preferred.set(name, preferred.size % COLORS.length);
    let index = preferred.get(name);
    for (let tries = 0; taken.has(index) && tries < COLORS.length; ++tries) index = (index + 1) % COLORS.length;
    taken.add(index);
    return COLORS[index];
  });
}

const unique = (values) => [...new Set(values)];
const label = (figure) => figure.series + (figure.projected ? " (projected)" : "");

/** What both kinds of picture have in common. */
function frame(chart, color) {
  return {
    width: 920, marginTop: 26, style: {background: "transparent", fontSize: "12px"}, color,
    figure: false,
  };
}

function curves(chart, color) {
  // On a logarithmic scale Plot would leave out labels that are no powers of ten.
  const position = chart.x_scale === "logarithmic" ? (figure) => Math.log2(figure.x) : (figure) => figure.x;
  const figures = chart.figures.map((figure) => ({...figure, name: label(figure), position: position(figure)}));
  const places = unique(figures.map((figure) => figure.position)).sort((one, other) => one - other);
  const names = new Map(figures.map((figure) => [figure.position, figure.at]));
  const few = places.length <= 14;
  const dotted = few ? figures.filter((figure) => !figure.series.endsWith(", model")) : [];
  return Plot.plot({
    ...frame(chart, color), height: 400, marginLeft: 60, marginRight: 20, marginBottom: 44,
    x: {
      label: chart.x_label,
      ...(few && {ticks: places, tickFormat: (x) => names.get(x) ?? ""}),
    },
    y: {type: chart.y_logarithmic ? "log" : "linear", label: `${chart.y_label} (${chart.unit})`, grid: true,
      zero: !chart.y_logarithmic, tickFormat: digits, ...(chart.y_logarithmic && {ticks: 6})},
    marks: [
      ...chart.marks.flatMap((mark) => [
        Plot.ruleY([mark.value], {stroke: "currentColor", strokeDasharray: "5 4"}),
        Plot.text([mark], {y: "value", text: (each) => `${each.label}: ${digits(each.value)} ${chart.unit}`,
          frameAnchor: "left", dx: 6, dy: -7, textAnchor: "start"}),
      ]),
      Plot.line(figures.filter((figure) => !figure.projected && !figure.series.endsWith(", model")),
        {x: "position", y: "median", stroke: "name", strokeWidth: 1.6}),
      Plot.line(figures.filter((figure) => figure.projected || figure.series.endsWith(", model")),
        {x: "position", y: "median", stroke: "name", strokeWidth: 1.6, strokeDasharray: "4 4"}),
      Plot.ruleX(dotted.filter((figure) => !figure.exact),
        {x: "position", y1: "low", y2: "high", stroke: "name", strokeWidth: 3, strokeOpacity: 0.45}),
      Plot.dot(dotted, {x: "position", y: "median", fill: "name", r: 3.5}),
    ],
  });
}

function bars(chart, color) {
  const figures = chart.figures.map((figure) => ({...figure, name: label(figure)}));
  const rows = unique(figures.map((figure) => figure.at)).length;
  const inner = unique(figures.map((figure) => figure.series)).length;
  return Plot.plot({
    ...frame(chart, color), height: 60 + rows * (inner * 18 + 14), marginLeft: 215, marginRight: rows > 1 ? 120 : 20,
    marginBottom: 44,
    x: {type: chart.y_logarithmic ? "log" : "linear", label: `${chart.y_label} (${chart.unit})`, grid: true, insetRight: 52,
      tickFormat: digits, ...(chart.y_logarithmic && {ticks: 6})},
    y: {label: null, domain: unique(figures.map((figure) => figure.name))},
    fy: {label: rows > 1 ? chart.x_label : null, domain: unique(figures.map((figure) => figure.at)),
      ...(rows === 1 && {axis: null})},
    marks: [
      ...(chart.y_logarithmic
        ? [Plot.dot(figures, {fy: "at", y: "name", x: "median", fill: "name", r: 4})]
        : [Plot.barX(figures, {fy: "at", y: "name", x: "median", fill: "name",
            fillOpacity: (figure) => (figure.projected ? 0.5 : 0.9)})]),
      Plot.ruleY(figures.filter((figure) => !figure.exact),
        {fy: "at", y: "name", x1: "low", x2: "high", strokeWidth: 2, insetTop: 0}),
      Plot.text(figures, {fy: "at", y: "name", x: (figure) => Math.max(figure.high, figure.median), text: (figure) =>
        digits(figure.median), textAnchor: "start", dx: 6}),
      ...chart.marks.map((mark) => Plot.ruleX([mark.value], {stroke: "currentColor", strokeDasharray: "5 4"})),
    ],
  });
}

function swatches(color) {
  return element("div", {class: "swatches"}, ...color.domain.map((name, index) =>
    element("span", {style: `--color: ${color.range[index]}`}, name)));
}

function ratio_text(figure) {
  if (figure.ratio === undefined) return "";
  if (figure.ratio === null) return "not known: the noise is larger";
  const {median, low, high} = figure.ratio;
  return `${digits(median)} (${digits(low)} to ${digits(high)})`;
}

function between_text(figure) {
  if (figure.exact) return "exact";
  return figure.samples.length === 1 ? "one sample" : `${digits(figure.low)} and ${digits(figure.high)}`;
}

function table(chart) {
  const compared = chart.baseline !== "";
  const head = element("tr", {}, ...[chart.x_label || " ", "", `median (${chart.unit})`, "between"].map((text, column) =>
    element("th", column >= 2 ? {class: "n"} : {}, text)));
  if (compared) head.append(element("th", {class: "n"}, `times ${chart.baseline}`));
  const rows = unique(chart.figures.map((figure) => figure.at)).flatMap((at) =>
    chart.figures.filter((figure) => figure.at === at).map((figure) => {
      const row = element("tr", {},
        element("td", {}, at), element("td", figure.projected ? {class: "projected"} : {}, label(figure)),
        element("td", {class: "n"}, digits(figure.median)),
        element("td", {class: "n"}, between_text(figure)));
      if (compared) row.append(element("td", {class: "n"}, ratio_text(figure)));
      return row;
    }));
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("details", {...(rows.length <= 24 && {open: ""})}, element("summary", {}, `${rows.length} figures`), made);
}

function draw(chart) {
  const section = element("section", {"data-chart": chart.id}, element("h3", {id: chart.id}, chart.title));
  if (chart.figures.length === 0) {
    section.append(element("p", {class: "dim"}, "Nothing was measured."));
  } else {
    const names = unique(chart.figures.map(label));
    const color = {domain: names, range: colors_of(names)};
    const picture = chart.x_scale === "categories" ? bars(chart, color) : curves(chart, color);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", chart.title);
    const shown = element("figure", {}, ...(chart.x_scale === "categories" ? [] : [swatches(color)]), picture);
    section.append(shown, table(chart));
    // For whoever checks the page: how many marks stand for figures.
    section.dataset.figures = chart.figures.length;
    section.dataset.drawn = picture.querySelectorAll("[aria-label=dot] circle, [aria-label=bar] rect").length;
    section.dataset.lines = picture.querySelectorAll("[aria-label=line] path").length;
  }
  if (chart.notes.length > 0) {
    section.append(element("ul", {class: "notes"}, ...chart.notes.map((note) => element("li", {}, note))));
  }
  return section;
}

const page = document.getElementById("page");
page.append(element("h1", {}, "What clearing memory costs, and what saves it"),
  element("p", {class: "dim"}, "Medians; error bars and \"between\" say where the true median lies with at least 93 % confidence. ",
    "A ratio is that of pairs measured in the same round, and stands only where it is larger than the noise. ",
    element("span", {class: "projected"}, "Projected"), " means: counted in cycles of a simulated engine, at its stated clock."));
const answers = element("dl", {class: "answers"});
for (const answer of results.answers) {
  const end = answer.indexOf("? ") + 1;
  answers.append(element("dt", {}, answer.slice(0, end)), element("dd", {}, answer.slice(end)));
}
page.append(answers);
const sections = Object.keys(SECTIONS).filter((name) => results.charts.some((chart) => chart.section === name));
page.append(element("nav", {}, ...sections.map((name) => element("a", {href: `#${name}`}, SECTIONS[name]))));
page.append(element("table", {class: "facts"}, ...Object.entries(results.facts).map(([name, value]) =>
  element("tr", {}, element("th", {}, name), element("td", {}, name === "command" ? element("code", {}, value) : value)))));
for (const name of sections) {
  const parts = name === "offload" ? "micro offload" : name;
  const again = (results.facts.command ?? "").replace(/^sluice bench( (micro|cancel|grant|trace|offload|vm))*/, `sluice bench ${parts}`);
  page.append(element("h2", {id: name}, SECTIONS[name]),
    element("p", {class: "notes"}, "This part again: ", element("code", {}, again)));
  for (const chart of results.charts.filter((each) => each.section === name)) page.append(draw(chart));
}
document.body.dataset.ready = results.charts.length;
