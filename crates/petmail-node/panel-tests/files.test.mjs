// What a browser loads of the page: how much, whether in one go, and whether all of it is the node's own.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PANEL = fileURLToPath(new URL("../panel/", import.meta.url));

/** What the first screen may take, uncompressed: it is read from this computer, and on slow ones parsed at once. */
const FIRST_LOAD_BYTES = 150_000;
const WHOLE_BYTES = 240_000;

const files = readdirSync(PANEL, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(PANEL.length));
const served = files.filter((name) => /\.(mjs|css|html|svg)$/.test(name));
const read = (name) => readFileSync(PANEL + name, "utf8");
const bytes = (names) => names.reduce((sum, name) => sum + readFileSync(PANEL + name).length, 0);

/** The modules that `name` loads before it runs, itself among them. */
function closure(name, found = new Set()) {
  if (found.has(name)) return found;
  found.add(name);
  const imports = read(name).matchAll(/^\s*(?:import|export)\b[^;]*?\bfrom\s*"(\.[^"]+)"|\bfrom"(\.[^"]+)"/gm);
  for (const [, one, packed] of imports) closure(normalize(join(dirname(name), one ?? packed)), found);
  return found;
}

const index = read("index.html");
const preloaded = [...index.matchAll(/rel="modulepreload" href="\/panel\/([^"]+)"/g)].map((match) => match[1]);
const resources = [...index.matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => match[1]);

test("the page asks for its modules in one go, and for no others", () => {
  assert.deepEqual(preloaded.toSorted(), [...closure("main.mjs")].toSorted());
});

test("the first screen is small", () => {
  const first = ["index.html", ...preloaded, ...files.filter((name) => name.endsWith(".css"))];
  assert.ok(bytes(first) < FIRST_LOAD_BYTES, `${bytes(first)} bytes`);
  assert.ok(bytes(served) < WHOLE_BYTES, `${bytes(served)} bytes`);
});

test("what pages load later is there", () => {
  for (const name of served.filter((one) => one.endsWith(".mjs"))) {
    for (const [, later] of read(name).matchAll(/\bimport\("(\.[^"]+\.mjs)"\)/g)) {
      assert.ok(files.includes(normalize(join(dirname(name), later))), `${name} loads ${later}`);
    }
  }
});

test("every resource is the node's own", () => {
  for (const resource of resources) {
    assert.match(resource, /^\/panel\//);
    assert.ok(files.includes(resource.slice("/panel/".length)), `${resource} is missing`);
  }
  for (const name of served.filter((one) => !one.startsWith("vendor/"))) {
    const remote = /(?:\bfrom\s*|\bimport\s*\(?\s*|\bsrc\s*=\s*|\burl\(\s*|\bfetch\(\s*)["'`]?(?:https?:)?\/\/[^\s]*/.exec(read(name));
    assert.equal(remote, null, `${name}: ${remote?.[0]}`);
  }
});

test("nothing makes markup or script of text", () => {
  for (const name of served.filter((one) => one.endsWith(".mjs") && !one.startsWith("vendor/"))) {
    const unsafe = /\b(?:innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|eval\(|new Function)/.exec(read(name));
    assert.equal(unsafe, null, `${name}: ${unsafe?.[0]}`);
  }
  assert.doesNotMatch(index, /<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=/);
});
