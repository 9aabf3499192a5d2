/**
 * The API reference: what package.json opens to users, as its doc comments have it. A warning ends it.
 *
 * Every public module is there once: under its name, where a door with a name exports it as a namespace, else under its
 * path. It is introduced by the comment its file begins with.
 */
import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { Comment, Converter, MinimalSourceFile, ReflectionKind } from "typedoc"

const root = path.resolve(import.meta.dirname, "../..")
const read = (file) => readFileSync(file, "utf8")
const modules = (pattern) => globSync(`src/${pattern}`, { cwd: root }).map((file) => path.join(root, file)).sort()

// --- What is in it ---------------------------------------------------------------------------------------------------

const { exports, name } = JSON.parse(read(path.join(root, "package.json")))
const doors = Object.entries(exports)
const closed = doors.filter(([, target]) => target === null).flatMap(([door]) => modules(`${door.slice(2)}*/*.ts`))
const opened = doors.flatMap(([, target]) => target?.default ?? []).map((file) =>
  file.replace("./dist/", "").replace("*", "**/*").replace(/\.js$/, ".ts")
)
const named = opened.filter((pattern) => !pattern.includes("*")).flatMap(modules)
const namespaces = named.flatMap((file) =>
  [...read(file).matchAll(/^export \* as \w+ from "(.*)"$/gm)].map(([, from]) => path.resolve(path.dirname(file), from))
)
const others = opened.flatMap(modules).filter((file) => ![...closed, ...named, ...namespaces].includes(file))

// --- How it reads ----------------------------------------------------------------------------------------------------

const onModule = (app, context, module) => {
  const symbol = context.getSymbolFromReflection(module)
  const file = context.resolveAliasedSymbol(symbol).declarations[0].fileName
  if (module.kindOf(ReflectionKind.Module)) {
    module.name = path.join(name, path.relative(path.join(root, "src"), file).replace(/(\/?index)?\.ts$/, ""))
  }
  // TypeDoc itself takes a comment for the module's only when it has one of its tags.
  const [, header] = read(file).match(/^\/\*\*\n([^]*?)\n \*\//)
  const text = header.replace(/^ \* ?/gm, "").replace(/^@since .*$/m, "")
  module.comment = new Comment(
    app.converter.parseRawComment(new MinimalSourceFile(text, file), context.project.files).content
  )
}

// A service is the shape that it gives its base class: the members of that become its own.
const onClass = (context, service) => {
  const [base] = service.extendedTypes ?? []
  if (base?.qualifiedName !== "ServiceClass.Shape") return
  const shape = base.typeArguments[1].declaration?.children
  if (shape === undefined) return
  service.extendedTypes = undefined
  for (const member of service.children ?? []) context.project.removeReflection(member)
  for (const member of shape) {
    member.parent = service
    service.addChild(member)
  }
}

const reading = (app) => {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.kindOf(ReflectionKind.SomeModule)) onModule(app, context, reflection)
  })
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    for (const service of context.project.getReflectionsByKind(ReflectionKind.Class)) onClass(context, service)
  }, 1000)
  // Of what a class gets from Effect, TypeDoc would tell the whole code of the call that made its base.
  app.converter.on(Converter.EVENT_RESOLVE_END, (context) => {
    for (const reflection of Object.values(context.project.reflections)) {
      delete reflection.inheritedFrom
      delete reflection.overwrites
      reflection.sources = reflection.sources?.filter(({ fileName }) => fileName.startsWith("src/"))
    }
  }, -1000)
}

/** @type {Partial<import("typedoc").TypeDocOptions>} */
export default {
  name: "Kosmonaut",
  entryPoints: [...named, ...others],
  tsconfig: path.join(root, "src/tsconfig.json"),
  readme: path.join(root, "README.md"),
  out: "site",
  plugin: [reading],
  excludeExternals: true,
  useFirstParagraphOfCommentAsSummary: true,
  highlightLanguages: ["javascript", "ruby", "sh", "typescript"],
  sort: ["kind", "source-order"],
  sortEntryPoints: false,
  disableGit: true,
  basePath: root,
  displayBasePath: root,
  sourceLinkTemplate: "../../../../{path}",
  treatWarningsAsErrors: true,
  // What the compiler needs to check a call, and tells in its own words; nobody names it.
  intentionallyNotExported: [
    "src/browser/internal/eventJson.ts:JsonDuration",
    "src/browser/internal/eventJson.ts:Text",
    "src/browser/internal/eventJson.ts:Requestable",
    "src/browser/internal/eventJson.ts:Triggerable",
    "src/client/Kosmonaut.ts:WrongOption",
    "src/events/Event.ts:Codecs",
    "src/events/Event.ts:Handler._",
    "src/events/Event.ts:ToPayload",
    "src/events/EventGroup.ts:ByTag",
    "src/events/EventGroup.ts:Events",
    "src/events/EventGroup.ts:Exactly",
    "src/events/EventGroup.ts:Wrong",
    "src/protocol/StatusError.ts:classes"
  ],
  validation: {
    invalidLink: true,
    invalidPath: true,
    notDocumented: true,
    notExported: true,
    rewrittenLink: true,
    unusedMergeModuleWith: true
  },
  requiredToBeDocumented: ["Module", "Namespace", "Class", "Interface", "TypeAlias", "Function", "Variable", "Method"]
}
