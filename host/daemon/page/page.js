// SPDX-License-Identifier: Apache-2.0
// The page of sluiced: asks its web service (docs/API.md) every two seconds, and shows what it says.
import {element, svg, table} from "./dom.js";
import {draw, emptyChart} from "./chart.js";

const PERIOD_MS = 2000;
const AUDIT_LINES = 20;
const STATES = ["clean", "owned", "reserved", "dirty", "scrubbing", "cancelling", "quarantined"];
const WORDS = {owned: "in use", other: "not yours"};
const find = (id) => document.getElementById(id);
const word = (state) => WORDS[state] ?? state;

const bytes = (count) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit + 1 < units.length) [value, unit] = [value / 1024, unit + 1];
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
};
/// null: not known; Infinity: never, as so much is not free.
const milliseconds = (value) => value === null ? "not known" : value === Infinity ? "not free"
  : value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(1)} ms`;
const clock = (time) => new Date(time).toLocaleTimeString();
const day = (time) => new Date(time).toLocaleString();

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, method = "GET") {
  const answer = await fetch(path, {method, headers: {"X-Sluice-Page": "1"}, cache: "no-store"});
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.detail ?? `status ${answer.status}`);
  return body;
}

/// null: it is not for this caller.
async function askIfMay(path) {
  try {
    return await ask(path);
  } catch (error) {
    if (error instanceof Refused && error.status === 403) return null;
    throw error;
  }
}

const shown = {brick: null, vm: null, opener: null, memory: [], names: new Map(), uuids: new Set(), seen: null};
const nameOf = (uuid) => uuid === null ? "nobody" : shown.names.get(uuid) || uuid.slice(0, 8);

function stateOf(brick) {
  if (!brick.states) return "other";
  return Object.entries(brick.states).sort((one, other) => other[1] - one[1])[0]?.[0] ?? "other";
}

function describe(brick) {
  if (!brick) return "Choose a brick to see what it is.";
  if (!brick.states) return `Brick ${brick.number}: ${bytes(brick.length)}, not yours.`;
  const parts = Object.entries(brick.states).map(([state, count]) => `${bytes(count)} ${word(state)}`).join(", ");
  const holder = brick.vm ? `; VM ${brick.vm} has it` : brick.last_vm ? `; VM ${brick.last_vm} had it last` : "";
  const owner = brick.customer === null ? "" : `; customer ${brick.customer}`;
  const pool = brick.pool === null ? "" : `; in pool ${brick.pool}`;
  return `Brick ${brick.number}: ${parts}${holder}${owner}${pool}.`;
}

function showLegend(bricks) {
  const sums = new Map();
  for (const brick of bricks) {
    for (const [state, count] of Object.entries(brick.states ?? {other: brick.length})) sums.set(state, (sums.get(state) ?? 0) + count);
  }
  find("legend").replaceChildren(...[...STATES, "other"].filter((state) => sums.has(state)).map((state) =>
    element("li", {}, svg("svg", {viewBox: "0 0 10 10", "aria-hidden": "true"}, svg("rect", {width: 10, height: 10, class: `s-${state}`})),
      `${word(state)}: ${bytes(sums.get(state))}`)));
}

function showMap(bricks) {
  const map = find("map");
  while (map.children.length > bricks.length) map.lastElementChild.remove();
  bricks.forEach((brick, at) => {
    let item = map.children[at];
    if (!item) {
      const button = element("button", {type: "button", "aria-pressed": "false", tabindex: at === 0 ? "0" : "-1"});
      button.addEventListener("click", () => choose(at));
      button.addEventListener("focus", () => stopAt(button));
      button.addEventListener("keydown", (event) => step(event, at));
      item = element("div", {role: "listitem"}, button);
      map.append(item);
    }
    const button = item.firstElementChild;
    const state = stateOf(brick);
    const look = JSON.stringify([brick, nameOf(brick.vm ?? null)]);
    if (button.dataset.look === look) return;
    button.dataset.look = look;
    button.dataset.state = state;
    let x = 0;
    const bars = Object.entries(brick.states ?? {other: brick.length}).map(([part, count]) => {
      const width = 100 * count / brick.length;
      const bar = svg("rect", {x, width, height: 10, class: `s-${part}`});
      x += width;
      return bar;
    });
    button.replaceChildren(element("span", {}, element("span", {class: "unseen"}, "Brick "), String(brick.number)), element("span", {}, word(state)),
      element("span", {}, brick.vm ? nameOf(brick.vm) : "\u00a0"),
      svg("svg", {viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true"}, ...bars));
  });
}

function choose(at) {
  shown.brick = at;
  [...find("map").children].forEach((item, index) => item.firstElementChild.setAttribute("aria-pressed", String(index === at)));
  find("brick").textContent = describe(shown.memory[at]);
}

/// The map is one stop of the tabulator, however many bricks there are.
function stopAt(button) {
  for (const other of find("map").querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  button.tabIndex = 0;
}

function step(event, at) {
  const steps = {ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity};
  if (!(event.key in steps)) return;
  event.preventDefault();
  const last = find("map").children.length - 1;
  find("map").children[Math.min(last, Math.max(0, at + steps[event.key]))].firstElementChild.focus();
}

function showVms(vms) {
  shown.uuids = new Set(vms.map((vm) => vm.uuid));
  shown.names = new Map(vms.filter((vm) => vm.uuid && vm.name).map((vm) => [vm.uuid, vm.name]));
  const why = (vm) => vm.uuid === null ? "" : {label: "Explain", name: `Explain VM ${vm.name || vm.uuid}`, act: () => explain(vm.uuid).catch((error) => tell(error.message))};
  table(find("vm-table"), vms.length === 0 ? "No VM has memory here." : `${vms.length} with memory, or waiting for it`,
    [["VM", (vm) => vm.name || "without a name"], ["UUID", (vm) => vm.uuid ?? "not known"], ["customer", (vm) => vm.customer, true],
      ["state", (vm) => vm.state], ["memory", (vm) => bytes(vm.bytes), true],
      ["not leased", (vm) => vm.unleased_bytes === 0 ? "none" : bytes(vm.unleased_bytes), true], ["why", why]],
    vms, (vm) => vm.id);
}

async function explain(uuid) {
  const panel = find("explanation");
  shown.vm = uuid;
  shown.opener = document.activeElement;
  const part = (id, name) => element("div", {id, class: "scrolls", tabindex: "0", role: "region", "aria-label": name});
  const close = element("button", {type: "button"}, "Close");
  close.addEventListener("click", () => {
    panel.hidden = true;
    shown.vm = null;
    (shown.opener?.isConnected ? shown.opener : find("vm-table")).focus();
  });
  panel.replaceChildren(element("h3", {}, `VM ${uuid}`), part("vm-bricks", "Bricks of this VM"), part("vm-policy", "Policy of this VM"), close);
  panel.hidden = false;
  panel.focus();
  await showExplanation();
}

/// How a brick was handed over, and what allowed it: as the policy is now, which may have changed since.
function howGiven(brick, policy) {
  if (!brick.recycled) return "clean";
  const from = policy[brick.allowed_by]?.from;
  return `as it was: ${brick.reason}; allowed by ${brick.allowed_by}${from ? `, now from: ${from}` : ""}`;
}

async function showExplanation() {
  const uuid = shown.vm;
  const panel = find("explanation");
  const title = panel.querySelector("h3");
  let vm = null;
  try {
    if (shown.uuids.has(uuid)) vm = await ask(`/v1/vms/${uuid}`);
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;  // 404: it ended just now
  }
  if (shown.vm !== uuid) return;  // closed meanwhile, or another one
  const text = vm ? `VM ${vm.name || uuid}: ${vm.state}` : `VM ${uuid} has ended`;
  if (title.textContent !== text) title.textContent = text;
  const policy = vm?.policy ?? {};
  table(find("vm-bricks"), vm ? "How it got its memory" : "It has no memory any more.", [["brick", (brick) => brick.number, true],
    ["length", (brick) => bytes(brick.length), true], ["handed over", (brick) => howGiven(brick, policy)]], vm?.bricks ?? [], (brick) => brick.number);
  table(find("vm-policy"), vm ? "What holds for it, and who said so" : "Nothing holds for it any more.", [["field", ([field]) => field],
    ["value", ([, entry]) => entry.value], ["from", ([, entry]) => entry.from + (entry.locked ? ", locked" : "")]],
  Object.entries(policy), ([field]) => field);
}

const rates = (times, sums) => sums.map((sum, at) => at === 0 ? 0 : Math.max(0, 1000 * (sum - sums[at - 1]) / (times[at] - times[at - 1])));

/// Until a VM of this size could have clean memory at each time, in ms.
function readyTimes(series, size) {
  const states = series.bytes_by_state;
  const rate = series.scrub_bytes_per_s;
  return states.clean.map((clean, at) => {
    if (clean >= size) return 0;
    if (clean + states.dirty[at] + states.scrubbing[at] + states.cancelling[at] < size) return Infinity;
    return rate === null ? null : 1000 * (size - clean) / rate;
  });
}

/// From the shortest brick on; a quarter of the host at first.
function offerSizes(bricks) {
  const choice = find("size");
  if (choice.options.length > 0 || bricks.length === 0) return;
  const total = bricks.reduce((sum, brick) => sum + brick.length, 0);
  for (let size = bricks.reduce((least, brick) => Math.min(least, brick.length), Infinity); size <= total; size *= 2) {
    choice.append(element("option", {value: size}, bytes(size)));
    if (size <= total / 4) choice.selectedIndex = choice.options.length - 1;
  }
}

function showSeries(series) {
  const states = series.bytes_by_state;
  const size = Number(find("size").value);
  const charts = [
    {title: "Memory that is free", base: 1024, format: bytes, lines: [{name: "clean", values: states.clean}, {name: "dirty", values: states.dirty},
      {name: "scrubbing", values: states.scrubbing}]},
    {title: `Ready time of a VM of ${bytes(size)}`, base: 10, format: milliseconds, lines: [
      {name: "dirty", label: "ready time", values: readyTimes(series, size)}]},
    {title: "Scrubbed and granted, a second", base: 1024, format: (value) => `${bytes(value)}/s`, lines: [
      {name: "scrubbing", label: "scrubbed", values: rates(series.times_ms, series.scrubbed_bytes)},
      {name: "owned", label: "granted", values: rates(series.times_ms, series.granted_bytes)}]},
  ];
  const place = find("charts");
  charts.forEach((chart, at) => {
    if (!place.children[at]) place.append(emptyChart(chart.title));
    draw(place.children[at], {...chart, times: series.times_ms, clock});
  });
}

function showEngine(host, series) {
  const statistics = host.statistics;
  const last = series.times_ms.length - 1;
  const speed = last < 1 ? 0 : rates(series.times_ms, series.scrubbed_bytes)[last];
  const facts = [["engine", host.engine], ["fault", host.fault ?? "none"], ["scrubs now", `${bytes(speed)}/s`],
    ["being scrubbed", bytes(host.bytes_by_state.scrubbing)],
    ["fastest scrub", series.scrub_bytes_per_s === null ? "not known" : `${bytes(series.scrub_bytes_per_s)}/s`],
    ["jobs in flight", host.jobs_in_flight], ["scrub jobs", statistics.scrub_jobs], ["cancelled", statistics.scrubs_cancelled],
    ["failed", statistics.scrubs_failed], ["saved by cancels", bytes(statistics.saved_by_cancel_bytes)],
    ["granted clean", bytes(statistics.granted_clean_bytes)],
    ["recycled", bytes(Object.values(statistics.recycled_bytes).reduce((sum, count) => sum + count, 0))]];
  find("engine-facts").replaceChildren(...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
}

function showQuarantine(quarantine) {
  const rows = [
    ...quarantine.leases.map((lease, at) => ({key: lease.vm ?? `lease ${at}`, what: `VM ${lease.vm ?? "not known"}`, bytes: lease.bytes, why: lease.obstacle,
      who: lease.holders.map((holder) => `${holder.command} (process ${holder.process})`).join(", ")})),
    ...quarantine.failed.map((failed) => ({key: `brick ${failed.brick}`, what: `brick ${failed.brick}`, bytes: failed.bytes, why: "a scrub has failed", who: ""})),
  ];
  table(find("quarantine-table"), rows.length === 0 ? "Nothing is in quarantine." : `${rows.length} in quarantine`,
    [["what", (row) => row.what], ["memory", (row) => bytes(row.bytes), true], ["why", (row) => row.why], ["who has it", (row) => row.who || "nobody"]],
    rows, (row) => row.key);
}

function showAudit(audit, lines) {
  table(find("audit-table"), `${audit.lines} lines; the last hash is ${audit.head.slice(0, 16)}…`,
    [["line", (line) => line.number, true], ["time", (line) => day(line.time_ms)], ["what", (line) => line.kind], ["VM", (line) => nameOf(line.uuid)],
      ["brick", (line) => line.brick, true], ["bytes", (line) => bytes(line.length), true], ["how", (line) => line.how]],
    lines.reverse(), (line) => line.number);
}

function tell(text) {
  const alert = find("alert");
  if (alert.textContent !== text) alert.textContent = text;
  alert.hidden = text === "";
}

async function refresh() {
  const [host, memory, vms] = await Promise.all([askIfMay("/v1/host"), ask("/v1/memory"), ask("/v1/vms")]);
  for (const section of document.querySelectorAll("[data-provider]")) section.hidden = host === null;
  shown.memory = memory.bricks;
  showVms(vms.vms);
  showLegend(memory.bricks);
  showMap(memory.bricks);
  offerSizes(memory.bricks);
  if (shown.brick !== null) {
    const text = describe(memory.bricks[shown.brick]);
    if (find("brick").textContent !== text) find("brick").textContent = text;
  }
  const total = memory.bricks.reduce((sum, brick) => sum + brick.length, 0);
  find("summary").textContent = `${memory.bricks.length} bricks, ${bytes(total)}; ${vms.vms.length} VMs` +
    (host ? `; ${bytes(host.bytes_by_state.clean)} clean` : "");
  if (host) {
    const [series, quarantine, audit] = await Promise.all([ask(`/v1/series/${find("step").value}`), ask("/v1/quarantine"), ask("/v1/audit")]);
    const {lines} = await ask(`/v1/audit/lines/${Math.max(1, audit.lines - AUDIT_LINES + 1)}`);
    showSeries(series);
    showEngine(host, series);
    showQuarantine(quarantine);
    showAudit(audit, lines);
  }
  if (shown.vm !== null) await showExplanation();
  tell(host?.fault ? `Nothing can be scrubbed: ${host.fault}` : "");
}

async function verify() {
  find("verified").textContent = "Reading all lines …";
  try {
    const answer = await ask("/v1/audit:verify", "POST");
    find("verified").textContent = answer.intact ? `All ${answer.lines} lines are intact.` : `Line ${answer.first_bad_line} was changed, or one before it is missing.`;
  } catch (error) {
    find("verified").textContent = `It could not be verified: ${error.message}`;
  }
}

function setTheme(theme) {
  if (theme === "") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
}

async function live() {
  let rounds = 0;
  for (;;) {
    try {
      await refresh();
      shown.seen = clock(Date.now());
      document.body.dataset.rounds = String(++rounds);
    } catch (error) {
      // The same words until it answers again, so that they are read out once.
      tell(`sluiced does not answer: ${error.message}. ${shown.seen === null ? "There is nothing to see yet" : `What you see is of ${shown.seen}`}.`);
    }
    await new Promise((wake) => setTimeout(wake, PERIOD_MS));
  }
}

find("verify").addEventListener("click", verify);
for (const id of ["step", "size"]) find(id).addEventListener("change", () => refresh().catch(() => {}));
// A browser may keep nothing: then the choice holds as long as the page.
const remember = (act) => {
  try {
    return act();
  } catch {
    return null;
  }
};
find("theme").value = remember(() => localStorage.getItem("theme")) ?? "";
setTheme(find("theme").value);
find("theme").addEventListener("change", (event) => {
  remember(() => localStorage.setItem("theme", event.target.value));
  setTheme(event.target.value);
});
live();
