/**
 * What applications can import shows nothing of what is internal, not even by its types: no declaration that they can reach
 * refers to a folder that package.json closes.
 */
import { execFileSync } from "node:child_process"
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"
import { assert, it, onTestFinished } from "vitest"

const root = resolve(import.meta.dirname, "..")
const dist = join(root, "dist")
const changedAt = (file: string) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Whether `npm run build` has made the declarations of these sources. */
const isBuilt = globSync("src/**/*.ts", { cwd: root }).every((file) =>
  changedAt(join(root, file)) < changedAt(join(dist, "index.d.ts"))
)

/** Makes them. `npm run check` finds errors. Several threads would check much of it several times. */
const compiled = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "kosmonaut-declarations-"))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const options = ["--emitDeclarationOnly", "--noCheck", "--singleThreaded", "--outDir", folder]
  execFileSync("tsc", ["-p", "src/tsconfig.json", ...options], { cwd: root })
  return folder
}

/** The script exports the plain data of the browser's state machine under names of its own. */
const passesOn = ["browser/script.d.ts"]

/** The files that the declarations of a file refer to, and those that these refer to. */
const reach = (file: string, from: string, reached: Map<string, string>) => {
  if (reached.has(file)) return
  reached.set(file, from)
  const text = readFileSync(file, "utf8").replace(/\/\*[^]*?\*\//g, "")
  for (const [, target] of text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)) {
    reach(resolve(dirname(file), target!).replace(/\.[jt]s$/, ".d.ts"), file, reached)
  }
}

it("the types of the public modules refer to no closed folder", { timeout: 120_000 }, () => {
  const folder = isBuilt ? dist : compiled()
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly exports: Record<string, { readonly types?: string } | string | null>
  }
  const closed = Object.keys(exports).filter((path) => exports[path] === null).map((
    path
  ) => path.slice(2, -1))
  const reached = new Map<string, string>()
  const isClosed = (file: string) => closed.some((path) => file.startsWith(path))
  for (const door of Object.values(exports)) {
    const types = typeof door === "object" ? door?.types : undefined
    if (types === undefined) continue
    for (const file of globSync(types.replace("./dist/", "").replace("*", "**/*"), { cwd: folder })) {
      if (!isClosed(file)) reach(join(folder, file), "", reached)
    }
  }
  const leaks = Array.from(reached, ([file, from]) => [relative(folder, file), relative(folder, from)] as const)
    .filter(([file, from]) => isClosed(file) && !isClosed(from) && !passesOn.includes(from))
  assert.isAbove(reached.size, 30)
  assert.deepStrictEqual(leaks, [])
})
