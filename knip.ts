/**
 * What knip takes as used, without being imported: what package.json opens to users, the examples, the programs that tests start, and the
 * tests of types. It finds the other tests by itself.
 *
 * It runs twice. `knip` takes every module that `"./*"` opens as used, so that it finds the unused exports of the others,
 * and the unused packages. `knip --production` begins at the doors with a name, and finds the modules that none of them
 * leads to.
 */
import type { KnipConfig } from "knip"
import dprint from "./dprint.json" with { type: "json" }
import manifest from "./package.json" with { type: "json" }

const source = (built: string) => built.replace("./dist/", "src/").replace(/\.js$/, ".ts")

const opened: Array<string> = []
const closed: Array<string> = []
for (const [door, target] of Object.entries(manifest.exports)) {
  if (target === null) closed.push(`!src/${door.slice(2)}*`)
  else if (typeof target === "object") opened.push(source(target.default))
}

const dashboard = "src/server/admin/internal/page/main.ts"

export default ({ production }: { readonly production?: boolean }): KnipConfig => ({
  entry: production === true
    ? [...Object.values(manifest.bin).map(source), dashboard, ...opened.filter((file) => !file.includes("*"))]
      .map((_) => `${_}!`)
    : [
      "docs/examples/**/*.ts",
      "test/bench/floors/*.ts",
      "test/harness/programs/*.ts",
      "test/browser/page/*.ts",
      "test/types/*.ts",
      ...opened.map((file) => file.replace("*", "**/*")),
      ...closed.filter((door) => !dashboard.startsWith(door.slice(1, -2))),
      dashboard
    ],
  project: ["src/**/*.ts!", "test/**/*.ts", "docs/**/*.ts"],
  treatConfigHintsAsErrors: true,
  // The reference names the types of what is exported, whoever imports them.
  ignoreExportsUsedInFile: { interface: true, type: true },
  // Debian's packages; tests without them say so.
  ignoreBinaries: production === true ? [] : ["nginx", "promtool", "redis-server", "systemd-analyze"],
  ignoreDependencies: [
    // The plugins of dprint, which names them by their paths.
    ...dprint.plugins.map((plugin) => plugin.split("/").slice(2, 4).join("/")),
    // No package here, but the name in tsconfig.json that @effect/tsgo goes by.
    "@effect/language-service",
    // Examples show hooks for them.
    "react",
    "vue",
    // Optional: with --strict it counts as unlisted.
    ...production === true ? ["jose", "tweetnacl"] : []
  ]
})
