// Bundles src/ into dist/, which is committed so that building Grasp needs no Node.
//   node build.mjs           writes dist/
//   node build.mjs --check   fails if dist/ is not what src/ gives
import { build } from "esbuild";
import { readFile, writeFile, mkdir } from "node:fs/promises";

const here = new URL(".", import.meta.url);
const at = (path) => new URL(path, here);

const result = await build({
  entryPoints: { app: at("src/main.js").pathname, style: at("src/style.css").pathname },
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "eof",
  outdir: at("dist").pathname,
  write: false,
});
const files = new Map(result.outputFiles.map((f) => [f.path.split("/").pop(), f.text]));
files.set("index.html", await readFile(at("src/index.html"), "utf8"));

let stale = 0;
await mkdir(at("dist/"), { recursive: true });
for (const [name, text] of files) {
  const path = at(`dist/${name}`);
  if (process.argv.includes("--check")) {
    const present = await readFile(path, "utf8").catch(() => "");
    if (present !== text) {
      stale++;
      console.error(`clients/dashboard/dist/${name} is not what src/ gives: run npm run build`);
    }
  } else {
    await writeFile(path, text);
    console.log(`dist/${name}: ${text.length} bytes`);
  }
}
process.exit(stale ? 1 : 0);
