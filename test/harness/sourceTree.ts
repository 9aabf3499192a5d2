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
  readonly nodes: ReadonlyArray<Node>
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
  const nodes = nodesOf(program)
  const imports = nodes.flatMap((node) => {
    const from = importOf(node)
    if (from === undefined) return []
    return [{ from, line: lineOf(text, node), file: from.startsWith(".") ? join(dirname(file), from) : undefined }]
  })
  return { file, text, program, nodes, imports }
}

/** Each node of a tree, from above. */
const nodesOf = (tree: Node): ReadonlyArray<Node> => {
  const nodes: Array<Node> = []
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return
    if ("type" in value) nodes.push(value as Node)
    for (const child of Object.values(value)) visit(child)
  }
  visit(tree)
  return nodes
}

/** What a node imports: of `import … from`, `export … from`, `import(…)` and of the type `import(…)`. */
const importOf = ({ source }: Node) => typeof source?.value === "string" ? source.value : undefined

export const lineOf = (text: string, { start }: { readonly start: number }) => text.slice(0, start).split("\n").length

export const isWithin = (file: string, part: string) => file === part || file.startsWith(`${part}/`)

/** Whether a text fits a pattern, where `*` stands for anything. */
export const fits = (text: string, pattern: string) =>
  new RegExp(`^${pattern.replace(/[.+]/g, "\\$&").replaceAll("*", ".*")}$`).test(text)

/** Lines that are neither empty nor comments. */
const linesOfCode = (text: string): number => text.split("\n").filter((line) => !/^\s*($|\/\/|\/?\*)/.test(line)).length

/** The names that a statement declares, or exports after all. What comes `from` elsewhere has its comment there. */
const namesOf = (statement: Node): ReadonlyArray<string> => {
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

/** Modules and what they export have doc comments. */
export const areDocumented: Rule = function*(modules) {
  for (const { file, program, text } of modules) {
    if (!/^(#!.*\n)?\/\*\*/.test(text)) {
      yield violation(file, 1, "begins without a doc comment", "say what the module is and promises")
    }
    const exported = new Set<string>()
    const symbols = new Map<string, { readonly line: number; readonly hasDoc: boolean }>()
    let end = 0
    for (const statement of program.body!) {
      const comments = text.slice(end, statement.start).match(/\/\*\*[^]*?\*\//g) ?? []
      // The first comment is the module's own, also where no import parts it from the first declaration.
      const isDocumented = comments.length > (end === 0 ? 1 : 0)
      for (const symbol of namesOf(statement)) {
        if (statement.type === "ExportNamedDeclaration") exported.add(symbol)
        const { hasDoc, line } = symbols.get(symbol) ?? { hasDoc: false, line: lineOf(text, statement) }
        symbols.set(symbol, { line, hasDoc: hasDoc || isDocumented })
      }
      end = statement.end
    }
    for (const [symbol, { hasDoc, line }] of symbols) {
      if (hasDoc || !exported.has(symbol)) continue
      yield violation(file, line, `${symbol} has no doc comment`, "say what it is for, in a sentence")
    }
  }
}

/** How many lines a file may have, and how many lines of code a function; one whose name begins with `make` builds something. */
interface Limits {
  readonly file: number
  readonly make: number
  readonly function: number
}

/** Files and functions are no larger than `limits`, or than `large` allows those that it names. */
export const areSmall = (limits: Limits, large: Readonly<Record<string, number>>): Rule =>
  function*(modules) {
    for (const { file, program, text } of modules) {
      const sizes = [[file, text.split("\n").length - 1, limits.file, 1] as readonly [string, number, number, number]]
      const visit = (value: unknown, name: string): void => {
        if (typeof value !== "object" || value === null) return
        const node = value as Partial<Node>
        const own = node.type === undefined ? name : (node.id ?? node.key)?.name ?? name
        if (/^(ArrowFunctionExpression|FunctionExpression|FunctionDeclaration)$/.test(node.type ?? "")) {
          const lines = linesOfCode(text.slice(node.start, node.end))
          const limit = own.startsWith("make") ? limits.make : limits.function
          sizes.push([`${file} ${own}`, lines, limit, lineOf(text, node as Node)])
        }
        for (const child of Object.values(value)) visit(child, own)
      }
      visit(program, "")
      for (const [what, lines, limit, line] of sizes) {
        const allowed = large[what] ?? limit
        if (lines > allowed) {
          yield violation(
            file,
            line,
            `${what} has ${lines} lines, allowed are ${allowed}`,
            "give its parts names of their own"
          )
        } else if (lines < allowed && allowed > limit && lines > limit) {
          yield violation(
            file,
            line,
            `${what} has ${lines} lines, allowed are ${allowed}`,
            "lower its number in `large`"
          )
        }
      }
      const seen = new Set(sizes.filter(([, lines, limit]) => lines > limit).map(([what]) => what))
      for (const what of Object.keys(large)) {
        if (what.split(" ")[0] === file && !seen.has(what)) {
          yield violation(file, 1, `${what} is small`, "delete it from `large`")
        }
      }
    }
  }
