// SPDX-License-Identifier: Apache-2.0
// Reads the RTL with slang, for sets of parameters that use every branch. Slang holds to IEEE 1800 more strictly than
// Verilator does: names are declared before they are used. Usage: node lint.mjs FOLDER_OF_NODE_MODULES SOURCES...
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...paths] = process.argv.slice(2);
const modules = join(folder, 'node_modules');

// The WebAssembly of this Yosys needs a newer node than a distribution may have: package.json brings one.
const own = join(modules, `node-linux-${process.arch}`, 'bin', 'node');
if (Number(process.versions.node.split('.')[0]) < 24) {
  if (!existsSync(own)) {
    console.error(`slang needs node 24, this is ${process.version} and ${own} is missing: install node 24`);
    process.exit(1);
  }
  try {
    execFileSync(own, process.argv.slice(1), { stdio: 'inherit' });
  } catch (error) {
    process.exit(error.status ?? 1);
  }
  process.exit(0);
}

const yosys = createRequire(join(modules, 'x')).resolve('@yowasp/yosys');
const { runYosys } = await import(pathToFileURL(yosys));
const sources = paths.filter((path) => path.endsWith('.sv'));
const files = Object.fromEntries(sources.map((path) => [basename(path), readFileSync(path, 'utf8')]));
const sets = [
  {},
  { DATA_WIDTH: 64, NUM_QUEUES: 1, NUM_MASTERS: 1, ID_PER_QUEUE: 0, ADDR_WIDTH: 40 },
  { DATA_WIDTH: 128, NUM_QUEUES: 2, ID_PER_QUEUE: 0 },
  { DATA_WIDTH: 256, NUM_QUEUES: 3, NUM_MASTERS: 1 },
  { DATA_WIDTH: 1024, NUM_QUEUES: 16, PREFETCH: 16 },
];
for (const set of sets) {
  const parameters = Object.entries(set).map(([name, value]) => `-G ${name}=${value}`).join(' ');
  let said = '';
  const print = (bytes) => { if (bytes) said += Buffer.from(bytes).toString(); };
  try {
    // WebAssembly has no threads here.
    const command = `read_slang --threads 1 --top scrub ${parameters} ${Object.keys(files).join(' ')}`;
    await runYosys(['-p', command], files, { stdout: print, stderr: print });
  } catch (error) {
    console.error(`slang: failed with ${parameters || 'the default parameters'}\n${said || error}`);
    process.exit(1);
  }
}
