// Runs wasm_client.py in Pyodide: commands come in as lines, what the client shows goes out as lines.
//
//     node run.mjs SITE SCRIPTS URL TOKEN
import { createInterface } from "node:readline";
import { loadPyodide } from "pyodide";

const [site, scripts, url, token] = process.argv.slice(2);

const python = await loadPyodide();
python.mountNodeFS("/site", site);
python.mountNodeFS("/scripts", scripts);
python.runPython("import sys; sys.path[:0] = ['/site', '/scripts']");
const client = python.pyimport("wasm_client");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => (await lines.next()).value ?? "";
await client.run(url, token, next, (line) => process.stdout.write(line + "\n"));
process.exit(0);
