/**
 * Sources as syntax trees: what they import and declare, and where, and whether they import one another in a circle.
 */
import { dirname, join } from "node:path/posix"
import { parseAst } from "vitest/node"

/** What is used here of the syntax tree, which is ESTree's. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly name?: string
  readonly async?: boolean
  readonly value?: unknown
  readonly id?: Node | null
  readonly key?: Node
  readonly body?: ReadonlyArray<Node>
  readonly source?: Node | null
  readonly object?: Node
  readonly property?: Node
  readonly local?: Node
  readonly typeAnnotation?: Node | null
  readonly declaration?: Node | null
  readonly declarations?: ReadonlyArray<Node>
  readonly specifiers?: ReadonlyArray<Node>
}

/** A file by its path below `src`, and what it imports; `file` there is a file of ours. */
export interface Module {
  readonly file: string
  readonly text: string
  readonly program: Node
  readonly imports: ReadonlyArray<{ readonly from: string; readonly line: number; readonly file: string | undefined }>
}

export interface Violation {
  readonly file: string
  readonly line: number
  readonly problem: string
  readonly todo: string
}

/** What a module violates, where, and what to do about it. */
export const violation = (file: string, line: number, problem: string, todo: string): Violation => (
  { file, line, problem, todo }
)

/** Parses a module by its path below `src`. */
export const parse = (file: string, text: string): Module => {
  const program = parseAst(text, { lang: "ts" }) as unknown as Node
  const imports = [...walk(program)].flatMap((node) => {
    const from = importOf(node)
    if (from === undefined) return []
    return [{ from, line: lineOf(text, node), file: from.startsWith(".") ? join(dirname(file), from) : undefined }]
  })
  return { file, text, program, imports }
}

/** Each node of a tree, from above. */
export function* walk(value: unknown): Generator<Node> {
  if (typeof value !== "object" || value === null) return
  if ("type" in value) yield value as Node
  for (const child of Object.values(value)) yield* walk(child)
}

/** What a node imports: of `import … from`, `export … from`, `import(…)` and of the type `import(…)`. */
const importOf = ({ source }: Node) => typeof source?.value === "string" ? source.value : undefined

export const lineOf = (text: string, { start }: { readonly start: number }) => text.slice(0, start).split("\n").length

export const isWithin = (file: string, part: string) => file === part || file.startsWith(`${part}/`)

/** Whether a text fits a pattern, where `*` stands for anything. */
export const fits = (text: string, pattern: string) =>
  new RegExp(`^${pattern.replace(/[.+]/g, "\\$&").replaceAll("*", ".*")}$`).test(text)

/** Lines that are neither empty nor comments. */
export const linesOfCode = (text: string): number =>
  text.split("\n").filter((line) => !/^\s*($|\/\/|\/?\*)/.test(line)).length

/** The names that a statement declares, or exports after all. What comes `from` elsewhere has its comment there. */
export const namesOf = (statement: Node): ReadonlyArray<string> => {
  const { declarations = [], id } = statement.declaration ?? statement
  const specifiers = statement.source ? [] : statement.specifiers ?? []
  const nodes = [id, ...declarations.map(({ id }) => id), ...specifiers.map(({ local }) => local)]
  return nodes.flatMap((node) => node ? [node.name ?? "a pattern"] : [])
}

/** Finds nodes. */
export type Finder = (node: Node) => boolean
export const kind = (...types: ReadonlyArray<string>): Finder => ({ type }) => types.includes(type)
export const name = (pattern: RegExp): Finder => ({ name, type }) => type === "Identifier" && pattern.test(name!)
export const member = (pattern: RegExp): Finder => ({ object, property, type }) =>
  type === "MemberExpression" && pattern.test(`${object?.name}.${property?.name}`)
export const imported = (pattern: RegExp): Finder => (node) => pattern.test(importOf(node) ?? "")

/** Checks modules. */
export type Rule = (modules: ReadonlyArray<Module>) => Iterable<Violation>

/** Modules that import one another in a circle. */
export const formNoCycle: Rule = function*(modules) {
  const all = new Map(modules.map((module) => [module.file, module]))
  const done = new Set<string>()
  const visit = function*(file: string, trail: ReadonlyArray<string>): Generator<Violation> {
    for (const { file: target, line } of all.get(file)?.imports ?? []) {
      if (target === undefined || done.has(target)) continue
      if (trail.includes(target)) {
        const problem = `imports in a circle: ${[...trail.slice(trail.indexOf(target)), target].join(" → ")}`
        yield violation(file, line, problem, "move what both need into a third module")
      } else {
        yield* visit(target, [...trail, target])
      }
    }
    done.add(file)
  }
  for (const file of all.keys()) {
    if (!done.has(file)) yield* visit(file, [file])
  }
}
