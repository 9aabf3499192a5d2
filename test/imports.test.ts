/**
 * What the public modules load when they are imported, in a process of their own: no package and no module of Node.js that is for
 * something else, so that an application starts fast and needs only what it uses.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { assert, beforeAll, describe, it } from "vitest"

const effect = ["effect"]
const servers = [...effect, "@effect/platform-node", "@effect/platform-node-shared"]

/** The packages that each door loads. Not among them are zeromq, redis, jose and tweetnacl, which are loaded when they are used. */
const doors: Record<string, ReadonlyArray<string>> = {
  "./script": [],
  "./events": effect,
  "./browser": effect,
  ".": effect,
  "./testing": [...effect, "re2js"],
  "./server": [...servers, "re2js", "ws"]
}

/** The parts of Effect that take long, and that nothing but the command line and the admin port need. */
const seldom =
  /^effect\/(dist\/)?(ai|cli|cluster|devtools|http-api|observability|persistence|process|rpc|sql|workers|workflow)\//

/** The modules of Node.js that take long to load; a server of browsers needs those of HTTP. */
const slow = /^node:(child_process|cluster|dgram|http2|inspector|readline|repl|sqlite|test)$/

/** Imports all doors in one process, and tells which module has asked for which. */
const recorder = `
  import { registerHooks } from "node:module"
  const asked = {}
  registerHooks({
    resolve: (name, context, next) => {
      const resolved = next(name, context)
      ;(asked[context.parentURL] ??= []).push(resolved.url)
      return resolved
    }
  })
  for (const door of process.argv.slice(1)) await import(door)
  console.log(JSON.stringify(asked))
`

const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as {
  readonly exports: Record<string, { readonly default: string } | string | null>
}

const fileOf = (door: string): string => {
  const { default: built } = exports[door] as { readonly default: string }
  return new URL(built.replace("./dist/", "../src/").replace(/js$/, "ts"), import.meta.url).href
}

const askedFor = (): Readonly<Record<string, ReadonlyArray<string>>> => {
  const args = ["--input-type=module", "-e", recorder, ...Object.keys(doors).map(fileOf)]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }).trim().split("\n").at(-1)!)
}

/** The modules that are loaded with one, those of packages by the name of the package and their path in it. */
const loadedWith = (file: string, asked: ReturnType<typeof askedFor>): ReadonlyArray<string> => {
  // What is added while this goes on comes in its turn.
  const loaded = new Set([file])
  for (const one of loaded) asked[one]?.forEach((other) => loaded.add(other))
  return Array.from(loaded, (url) => url.replace(/^.*\/node_modules\//, ""))
}

const packagesOf = (modules: ReadonlyArray<string>) =>
  [
    ...new Set(modules.flatMap((module) => /^(?!file:|node:)(@[^/]+\/)?[^/]+/.exec(module)?.[0] ?? []))
  ].sort()

it("knows all doors", () => {
  const named = Object.entries(exports).filter(([door, to]) =>
    typeof to === "object" && to !== null && !door.includes("*")
  )
  assert.deepStrictEqual(named.map(([door]) => door).sort(), Object.keys(doors).sort())
})

describe("a door", () => {
  let asked: ReturnType<typeof askedFor> = {}
  beforeAll(() => {
    asked = askedFor()
  })

  it.each(Object.entries(doors))("%s loads what it needs alone", (door, packages) => {
    const modules = loadedWith(fileOf(door), asked)
    assert.deepStrictEqual(packagesOf(modules), [...packages].sort())
    assert.deepStrictEqual(modules.filter((module) => seldom.test(module) || slow.test(module)), [])
  })
})
