// SPDX-License-Identifier: Apache-2.0
// node page_test.mjs MODULES CHROMIUM SLUICED SLUICECTL SLUICE_QEMU QEMU GUEST: the page of a running sluiced, with real guests, in a
// browser without a screen. With PAGE_SHOTS=FOLDER pictures stay there.
import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {createRequire} from "node:module";
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {request} from "node:http";
import {after, before, test} from "node:test";
import {join} from "node:path";

const [modules, chromium, sluiced, sluicectl, wrapper, qemu, guest] = process.argv.slice(2);
const from = createRequire(join(modules, "package.json"));
const {chromium: browserType} = from("playwright-core");
const axe = readFileSync(from.resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.PAGE_SHOTS;
const PATIENCE_MS = 20_000;
const UUIDS = ["0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f90a", "2c3d4e5f-6071-8293-a4b5-c6d7e8f90a1b",
  "3d4e5f60-7182-93a4-b5c6-d7e8f90a1b2c"];

const folder = mkdtempSync("/dev/shm/sluice-test-page-");
const socket = join(folder, "run/api.sock");
const processes = [];
let browser, page, address;
const complaints = [];

function start(program, words, environment = {}) {
  const child = spawn(program, words, {stdio: ["pipe", "pipe", "pipe"], env: {...process.env, ...environment}});
  processes.push(child);
  child.text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => { child.text += data; });
  return child;
}
async function until(condition, what) {
  const limit = Date.now() + PATIENCE_MS;
  for (;;) {
    if (await condition()) return;
    assert.ok(Date.now() < limit, `${what}; the processes say:\n${processes.map((child) => child.text).join("\n")}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}
async function startGuest(uuid, name) {
  const child = start(wrapper, ["-nodefaults", "-display", "none", "-accel", "tcg", "-bios", guest, "-name", name, "-uuid", uuid, "-m", "32",
    "-chardev", "stdio,id=guest,signal=off", "-serial", "chardev:guest"], {SLUICE_SOCKET: join(folder, "run/vmm.sock"), SLUICE_QEMU: qemu});
  await until(() => child.text.includes("boots"), `guest ${name} says nothing`);
  return child;
}
/// Of the relay, as a program that is no browser: [status, body].
function ask(path, {headers = {}, method = "GET"} = {}) {
  const url = new URL(address);
  return new Promise((resolve, reject) => {
    const sent = request({host: "127.0.0.1", port: url.port, path, method, headers}, (answer) => {
      let body = "";
      answer.on("data", (data) => { body += data; });
      answer.on("end", () => resolve([answer.statusCode, body, answer.headers]));
    });
    sent.on("error", reject);
    sent.end();
  });
}
/// Of sluiced itself, by whoever sets the host up.
function order(method, path, body) {
  return new Promise((resolve, reject) => {
    const sent = request({socketPath: socket, path, method}, (answer) => answer.resume().on("end", () => resolve(answer.statusCode)));
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
  });
}
const refreshed = async () => {
  const rounds = Number(await page.locator("body").getAttribute("data-rounds") ?? 0);
  await page.waitForFunction((before) => Number(document.body.dataset.rounds ?? 0) > before, rounds, {timeout: PATIENCE_MS});
};
const inState = (state) => page.locator(`#map button[data-state="${state}"]`).count();
async function violations() {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}));
  return found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target.join(" ")).join(", ")}`);
}
const shoot = async (name) => { if (shots) await page.screenshot({path: join(shots, `${name}.png`), fullPage: true}); };

before(async () => {
  writeFileSync(join(folder, "sluiced.toml"), `[memory]\nfolder = "${folder}/memory"\nbricks = [{ size = "32MiB", count = 12 }]\n` +
    `[folders]\nrun = "${folder}/run"\nstate = "${folder}/state"\n[vmm]\nsocket = "${folder}/run/vmm.sock"\nusers = [${process.getuid()}]\n` +
    `[api]\nsocket = "${socket}"\nusers = [${process.getuid()}]\n`);
  start(sluiced, ["--config", join(folder, "sluiced.toml")]);
  await until(() => existsSync(socket), "sluiced does not start");
  const relay = start(sluicectl, ["--socket", socket, "page"]);
  await until(() => relay.text.includes("\n"), "sluicectl prints no address");
  address = relay.text.trim();
  browser = await browserType.launch({executablePath: chromium, args: ["--no-sandbox"]});
  page = await (await browser.newContext({colorScheme: "light", viewport: {width: 1200, height: 900}})).newPage();
  page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
});

after(async () => {
  await browser?.close();
  for (const child of processes) child.kill("SIGKILL");
  await Promise.all(processes.map((child) => child.exitCode !== null || child.signalCode !== null ? null : new Promise((ended) => child.on("exit", ended))));
  rmSync(folder, {recursive: true, force: true});
});

test("who does not know the address is refused", async () => {
  const host = new URL(address).host;
  const cookie = `sluice-${new URL(address).port}=${new URL(address).searchParams.get("token")}`;
  for (const [what, answer] of [
    ["no token", await ask("/", {headers: {host}})],
    ["a wrong token", await ask("/?token=" + "0".repeat(64), {headers: {host}})],
    ["a wrong cookie", await ask("/v1/host", {headers: {host, cookie: cookie.slice(0, -1) + "x"}})],
    ["a foreign name", await ask("/v1/host", {headers: {host: "evil.example", cookie}})],
    ["a change by a form of another site", await ask("/v1/audit:verify", {method: "POST", headers: {host, cookie}})],
  ]) {
    assert.equal(answer[0], 403, what);
    assert.equal(JSON.parse(answer[1]).status, 403, what);
  }
  assert.equal((await ask("/v1/host", {headers: {host, cookie}}))[0], 200);
  assert.equal((await ask("/v1/audit:verify", {method: "POST", headers: {host, cookie, "x-sluice-page": "1"}}))[0], 200);
  const [, , headers] = await ask("/", {headers: {host, cookie}});
  assert.match(headers["content-security-policy"], /default-src 'none'; script-src 'self'/);
});

test("the map follows VMs as they come and go", async () => {
  await page.goto(address);
  await until(async () => await inState("clean") === 12, "the bricks do not become clean");
  assert.ok(!page.url().includes("token"), "the token does not stay in the address");
  const first = await startGuest(UUIDS[0], "web <b>1</b>");
  await startGuest(UUIDS[1], "db-1");
  await until(async () => await inState("owned") === 2, "the map does not show the VMs' bricks");
  await until(async () => await page.locator("#vm-table tbody tr").count() === 2, "the VMs are not listed");
  assert.match(await page.locator("#vm-table").innerText(), /web <b>1<\/b>/, "a name is text and no markup");
  first.kill("SIGKILL");
  await until(async () => await inState("owned") === 1, "a VM that has ended still has its brick");
  await until(async () => await inState("clean") === 11, "what it had does not become clean");
});

test("why a VM has what it has opens by the keyboard", async () => {
  await startGuest(UUIDS[0], "web-1");
  const explain = page.getByRole("button", {name: "Explain VM web-1"});
  await explain.waitFor({timeout: PATIENCE_MS});
  await explain.focus();
  await page.keyboard.press("Enter");
  const panel = page.locator("#explanation");
  await panel.waitFor({state: "visible", timeout: PATIENCE_MS});
  await until(async () => (await panel.innerText()).includes("recycle_on_reboot"), "the policy is not shown");
  assert.equal(await page.evaluate(() => document.activeElement.id), "explanation");
  assert.match(await panel.innerText(), /clean/);
  await refreshed();
  assert.equal(await page.evaluate(() => document.activeElement.id), "explanation", "a refresh leaves the focus where it is");
  await panel.getByRole("button", {name: "Close"}).focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Explain VM web-1", "the focus goes back");
});

test("the map is one stop of the tabulator, and the arrows go through it", async () => {
  const stops = page.locator('#map button[tabindex="0"]');
  assert.equal(await stops.count(), 1);
  await stops.focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  assert.match(await page.locator("#brick").innerText(), /^Brick 1: 32 MiB/);
  assert.match(await page.locator("#map button:focus").innerText(), /^Brick\s+1\b/);
  await refreshed();
  assert.equal(await stops.count(), 1);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "vm-table", "one key leaves the map");
});

test("memory of a trust group says by which field it was recycled, and an explanation follows its VM", async () => {
  assert.equal(await order("POST", "/v1/trust-groups", {id: 7, customer: 1}), 201);
  assert.equal(await order("PUT", "/v1/attachments/trust-group/7", {policy: {scrub_timing: "scheduled", scrub_delay_s: 3600}}), 200);
  for (const uuid of UUIDS.slice(2)) assert.equal(await order("PUT", `/v1/registrations/${uuid}`, {customer: 1, trust_group: 7}), 201);
  const first = await startGuest(UUIDS[2], "group-1");
  first.kill("SIGKILL");
  await until(async () => await inState("dirty") === 1, "what it had is not dirty");
  const second = await startGuest(UUIDS[3], "group-2");
  await page.getByRole("button", {name: "Explain VM group-2"}).press("Enter", {timeout: PATIENCE_MS});
  const panel = page.locator("#explanation");
  await until(async () => /trust group; allowed by recycle_within_trust_group, now from: built in/.test(await panel.innerText()), "it is not explained");
  await shoot("recycled");
  second.kill("SIGKILL");
  await until(async () => (await panel.innerText()).includes(`VM ${UUIDS[3]} has ended`), "the explanation is still of a VM that runs");
  assert.equal(await page.evaluate(() => document.activeElement.id), "explanation");
  assert.equal(await panel.locator("tbody tr").count(), 0);
});

test("the ready time is that of a VM of the size that was chosen", async () => {
  const figure = page.locator("#charts figure").nth(1);
  await page.locator("#size").selectOption({label: "32 MiB"});
  await until(async () => /^Ready time of a VM of 32 MiB/.test(await figure.locator("figcaption").innerText()), "the chart is of another size");
  const newest = async () => (await figure.locator("tbody tr:last-child td:last-child").textContent());
  await until(async () => await newest() === "0.0 ms", "there is clean memory for it at once");
  // Times that a host has rarely: nothing clean and no rate yet, too little that is free, and one sample alone.
  const none = [0, 0, 0], size = 256 * 2 ** 20;
  const columns = {step_ms: 60_000, times_ms: [60_000, 120_000, 180_000], scrub_bytes_per_s: null, recycled_bytes: none, granted_bytes: none,
    scrubbed_bytes: none, bytes_by_state: {clean: [0, 0, size], dirty: [size, 0, 0], scrubbing: none, cancelling: none}};
  await page.route("**/v1/series/minute", (route) => route.fulfill({json: columns}));
  await page.locator("#size").selectOption({label: "256 MiB"});
  await page.locator("#step").selectOption("minute");
  await until(async () => (await figure.locator("tbody td:last-child").allTextContents()).join() === "not known,not free,0.0 ms", "an unknown time is a number");
  assert.equal(await figure.locator("path.curve").getAttribute("d").then((path) => path.match(/[ML]/g).length), 1, "only what is known is drawn");
  columns.times_ms.length = 1;
  await until(async () => /there are no two samples yet/.test(await page.locator("#charts").innerText()), "one sample is drawn");
  assert.ok(!await figure.locator("svg").isVisible(), "no picture of other times stays");
  await page.unroute("**/v1/series/minute");
  await page.locator("#step").selectOption("second");
  await until(async () => await figure.locator("svg").isVisible(), "the chart does not come back");
});

test("charts, engine and audit show what the service says", async () => {
  await until(async () => await page.locator("#charts path.curve[d^=M]").count() === 6, "the charts have no lines");
  assert.match(await page.locator("#engine-facts").innerText(), /cpu[^]*jobs in flight/);
  assert.match(await page.locator("#audit-table").innerText(), /hand.?over/i);
  await page.getByRole("button", {name: "Verify the chain"}).click();
  await until(async () => /All \d+ lines are intact/.test(await page.locator("#verified").innerText()), "the audit is not verified");
  await page.locator("#charts summary").first().click();
  await refreshed();
  assert.ok(await page.locator("#charts details").first().evaluate((details) => details.open), "a table that was opened stays open");
  assert.ok(await page.locator("#charts details table tbody tr").first().isVisible());
});

test("it can be used by everybody, in light and dark, on a phone and on paper", async () => {
  await page.getByRole("button", {name: "Explain VM web-1"}).press("Enter");
  await until(async () => await page.locator("#vm-policy tbody tr").count() > 0, "nothing is explained");
  assert.deepEqual(await violations(), []);
  await shoot("light");
  await page.locator("#theme").selectOption("dark");
  assert.deepEqual(await violations(), []);
  await shoot("dark");
  await page.emulateMedia({media: "print", colorScheme: "dark"});
  const [ink, ground] = await page.evaluate(() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]
    .map((colour) => Math.max(...colour.match(/\d+/g).slice(0, 3).map(Number))));
  assert.ok(ink < 60 && ground > 240, `paper is white: ink ${ink} on ${ground}`);
  await shoot("print");
  await page.emulateMedia({media: "screen", colorScheme: "light"});
  await page.locator("#theme").selectOption("");
  await page.setViewportSize({width: 360, height: 800});
  assert.deepEqual(await violations(), []);
  const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= view, `${content} pixels wide on a screen of ${view}`);
  await refreshed();  // the charts are as wide as the screen now
  const overlaps = await page.locator("#charts svg").evaluateAll((pictures) => pictures.filter((picture) => {
    const until = picture.querySelector(".until");
    return until.previousElementSibling.getBoundingClientRect().right > until.getBoundingClientRect().left;
  }).length);
  assert.equal(overlaps, 0, "two times lie on each other");
  await shoot("phone");
  if (shots) await page.pdf({path: join(shots, "page.pdf")});
});

test("a sluiced that is gone is missed", async () => {
  processes[0].kill("SIGKILL");
  const alert = page.locator("#alert").filter({hasText: "does not answer"});
  await alert.waitFor({timeout: PATIENCE_MS});
  await alert.evaluate((node) => {
    window.changes = 0;
    new MutationObserver(() => { ++window.changes; }).observe(node, {childList: true, characterData: true, subtree: true, attributes: true});
  });
  for (let round = 0; round < 3; ++round) await page.waitForResponse(/v1.memory/, {timeout: PATIENCE_MS});
  assert.equal(await page.evaluate(() => window.changes), 0, "it is read out once");
  assert.deepEqual(complaints.filter((text) => !text.includes("502")), []);
});
