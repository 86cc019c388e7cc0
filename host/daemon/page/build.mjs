// SPDX-License-Identifier: Apache-2.0
// node build.mjs FOLDER_WITH_MODULES OUTPUT_FOLDER: the page as three files, its scripts in one.
import {createRequire} from "node:module";
import {copyFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const [modules, output] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const {buildSync} = createRequire(join(modules, "package.json"))("esbuild");
buildSync({
  entryPoints: [join(here, "page.js")], bundle: true, minify: true, format: "esm", target: "es2022", charset: "utf8",
  outfile: join(output, "page.js"),
});
for (const name of ["index.html", "page.css"]) copyFileSync(join(here, name), join(output, name));
