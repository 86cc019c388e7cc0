// SPDX-License-Identifier: Apache-2.0
// node build.mjs FOLDER_WITH_MODULES OUTPUT: one page with script and style in it, and a place for results.
import {createRequire} from "node:module";
import {readFileSync, writeFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const [modules, output] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const {buildSync} = createRequire(join(modules, "package.json"))("esbuild");
const bundle = buildSync({
  entryPoints: [join(here, "report.js")], bundle: true, minify: true, write: false, format: "iife", target: "es2020",
  legalComments: "inline", nodePaths: [join(modules, "node_modules")], charset: "utf8",
});
const script = bundle.outputFiles[0].text.replaceAll("</script", "<\\/script");
const read = (name) => readFileSync(join(here, name), "utf8");
writeFileSync(output, read("page.html").replace("/*STYLE*/", () => read("style.css")).replace("/*SCRIPT*/", () => script));
